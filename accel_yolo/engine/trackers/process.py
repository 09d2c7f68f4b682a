"""The process that speaks to one tracker. It may hang, wait or die: nobody waits for it while training.

It reads one message a line from its standard input and answers, a line each, on its standard output. What the tracker
itself prints goes to its log; what it wants to read is not there, so it cannot ask.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
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
from accel_yolo.lifeline import end_with_parent, leave_signals_to_the_run

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0
MOST_TRIES = 20
"""A message that was refused so often, over about a quarter of an hour, is given up."""
FEW_TRIES = 2
"""The same when the run is over, and for what is wrong with the message itself."""
MOST_WAITING = 5000
"""Messages that wait here for a tracker; readings that come then are left out."""

_HOPELESS = (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError)
_OF_THE_RUN = (
    ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT"],
    ("ACCELERATE_", "TORCHELASTIC_", "OMPI_", "PMI_", "PMIX_", "MV2_", "MPI_"),
)
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "WANDB_SILENT": "true"}
_USER_INFO = re.compile(r"//[^/@\s]+@")

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
            message = json.loads(line)
            with self._arrived:
                if message["do"] == "step" and len(self._waiting) >= MOST_WAITING:
                    continue
                self._waiting.append(message)
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
        self._delivered = 0

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
                if message["tries"] >= self._most_tries(message, error):
                    pause_s = FIRST_PAUSE_S
                    continue
                self._inbox.return_first(message)
                self._inbox.rest(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self._delivered, pause_s = self._delivered + 1, FIRST_PAUSE_S
                self._answer("took", "")
        self._answer("done", "")

    def _most_tries(self, message: Message, error: Exception) -> float:
        """Return how often a message is tried: a start without end, because nothing can be told before it."""
        if self._inbox.is_last_call or isinstance(error, _HOPELESS):
            return FEW_TRIES
        return math.inf if message["do"] == "start" else MOST_TRIES

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
            raise ValueError(f"{self._kind} was not started")
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
        text = _USER_INFO.sub("//", text)  # an address may hold a password
        told = {"say": kind, "text": text, "delivered": self._delivered}
        print(json.dumps(told), file=self._answers, flush=True)


def serve(kind: str, parent: str) -> None:
    """Speak to a tracker until the run ends.

    Args:
        kind: the tracker.
        parent: number of the process of the run.
    """
    if sys.platform == "linux":
        end_with_parent(signal.SIGKILL)
        if os.getppid() != int(parent):  # it has ended before that took effect
            os._exit(1)
    _forget_the_run()
    leave_signals_to_the_run()  # it ends at them, and then says so
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)
    messages = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    started = time.monotonic()
    Speaker(kind, Inbox(messages), answers).run()
    print(f"ended after {time.monotonic() - started:.0f} s", flush=True)
    # Trackers leave threads behind that may wait for their server for ever.
    os._exit(0)


def _forget_the_run() -> None:
    """Take what makes processes a run out of the environment: this is none of them, and needs no device."""
    names, prefixes = _OF_THE_RUN
    for name in [name for name in os.environ if name in names or name.startswith(prefixes)]:
        del os.environ[name]
    # Trackers that wait minutes for each answer would lose the rest; here each message is tried again.
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
