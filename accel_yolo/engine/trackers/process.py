"""The process that speaks to one tracker. It may hang, wait or die: nobody waits for it while training.

It reads one message a line from its standard input and answers, a line each, on its standard output. What the tracker
itself prints goes to its log; what it wants to read is not there, so it cannot ask.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from accel_yolo.errors import first_line
from accel_yolo.lifeline import end_with_parent

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0
MOST_TRIES = 20
"""A message that was refused so often, over about a quarter of an hour, is given up."""
LAST_TRIES = 2
"""The same when the run is over."""

Message = dict[str, Any]


class Inbox:
    """Messages as they come; those that were refused come again, first."""

    def __init__(self, stream: TextIO) -> None:
        self._waiting: deque[Message] = deque()
        self._arrived = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: TextIO) -> None:
        for line in stream:
            with contextlib.suppress(ValueError), self._arrived:
                self._waiting.append(json.loads(line))
                self._arrived.notify()
        with self._arrived:
            self._ended = True
            self._arrived.notify()

    def __iter__(self) -> Iterator[Message]:
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    return
                message = self._waiting.popleft()
            yield message

    def return_first(self, message: Message) -> None:
        """Put a message back."""
        with self._arrived:
            self._waiting.appendleft(message)

    @property
    def is_last_call(self) -> bool:
        """Whether the run is over and nothing more will come."""
        return self._ended

    def rest(self, seconds: float) -> None:
        """Wait, but not when the run is over: what is left is then tried at once."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._ended, timeout=seconds)


class Speaker:
    """Delivers messages to a tracker and tells the run what became of them."""

    def __init__(self, kind: str, inbox: Inbox, answers: TextIO) -> None:
        self._kind, self._inbox, self._answers = kind, inbox, answers
        self._adapter: Any = None
        self._failed_once = False
        self.delivered, self.lost = 0, 0

    def run(self) -> None:
        """Deliver everything, in order."""
        pause_s = FIRST_PAUSE_S
        for message in self._inbox:
            try:
                self._deliver(message)
            except Exception as error:
                traceback.print_exc()
                self._warn_once(error)
                message["tries"] = message.get("tries", 0) + 1
                if message["tries"] >= (LAST_TRIES if self._inbox.is_last_call else MOST_TRIES):
                    self.lost += 1
                    continue
                self._inbox.return_first(message)
                self._inbox.rest(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self.delivered, pause_s = self.delivered + 1, FIRST_PAUSE_S
                self._answer("took", "")
        self._answer("done", "")

    def _deliver(self, message: Message) -> None:
        from accel_yolo.engine.trackers.adapters import Place, Subject, adapter_for

        kind = message["do"]
        if kind == "start":
            subject = Subject(**{**message["subject"], "folder": Path(message["subject"]["folder"])})
            adapter = adapter_for(self._kind, subject)
            where = adapter.start()
            self._adapter = adapter
            self._answer("note", where)
            return
        if self._adapter is None:  # its start was given up
            raise RuntimeError(f"{self._kind} was not started")
        if kind == "finish":
            self._adapter.finish(failed=message["failed"])
        elif kind == "file":
            self._adapter.log_file(Path(message["path"]))
        else:
            place = Place(message["epoch"], message["step"])
            if kind == "picture":
                self._adapter.log_picture(Path(message["path"]), place)
            else:
                log = self._adapter.log_step if kind == "step" else self._adapter.log_epoch
                log(message["values"], place)

    def _warn_once(self, error: Exception) -> None:
        if not self._failed_once:
            self._failed_once = True
            self._answer("warn", first_line(error))

    def _answer(self, kind: str, text: str) -> None:
        told = {"say": kind, "text": text, "delivered": self.delivered, "lost": self.lost}
        print(json.dumps(told), file=self._answers, flush=True)


def main() -> None:
    """Speak to the tracker that the command line names until the run ends."""
    end_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the run, which then says so
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)
    messages = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    started = time.monotonic()
    Speaker(sys.argv[1], Inbox(messages), answers).run()
    print(f"ended after {time.monotonic() - started:.0f} s", flush=True)
    # Trackers leave threads behind that may wait for their server for ever.
    os._exit(0)


if __name__ == "__main__":
    main()
