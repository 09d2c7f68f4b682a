"""A process that draws while the run goes on: at low priority, with one thread, and never waited for in between.

What is to be drawn is a function and its arguments. They travel in a memory file, so that asking takes as long as
writing them, however busy the process is; what it says comes back through a socket. A failure is told once and ends
nothing but the drawing. Needs no torch: the process starts fast and stays small.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import IO, Any

from accel_yolo.errors import UserError
from accel_yolo.lifeline import end_with_parent, leave_signals_to_the_run, start_program

LONGEST_DRAWING_S = 120.0
"""A drawing that takes longer is given up where somebody waits for it."""
_LOW_PRIORITY = 10
"""As nice as to take a tenth of what a training process takes, where they share a core. Nicer ones starve for minutes
on a machine that others use too."""
_MESSAGE_BYTES = 1 << 16

Drawing = Callable[..., list[Path]]
"""Draws something and returns the files written; a function of a module that does without torch."""


class Draughtsman:
    """The drawing process of this process, which ends with it, however it ends.

    Attributes:
        failure: why something could not be drawn, the first time; "" as long as all is well.
        spent_s: what drawing has taken so far, seconds of a processor.
    """

    def __init__(self) -> None:
        """Start the process."""
        self.failure, self.spent_s = "", 0.0
        self._line, theirs = socket.socketpair()
        self._asked, self._heard, self._drawn = 0, b"", list[Path]()
        self._process = self._started(theirs)
        theirs.close()
        self.close = weakref.finalize(self, _end, os.getpid(), self._process, self._line)

    def _started(self, theirs: socket.socket) -> subprocess.Popen[bytes] | None:
        """Return the process, which draws what is asked for at the other end of `theirs`; None where none starts."""
        if not hasattr(socket, "send_fds"):  # Windows; nor can a process there be handed a socket as it starts
            self.failure = "pictures of a run are drawn on Linux and macOS only"
            return None
        words = [str(theirs.fileno()), str(os.getpid())]
        # No session of its own: there, its low priority would not count against this process.
        process = start_program(
            "accel_yolo.engine.draughtsman:serve",
            words,
            site=True,  # the user's augmentation may be installed in a way that needs it
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if process is None:
            self.failure = "the process could not be started"
        return process

    def ask(self, drawing: Drawing, *arguments: Any) -> None:
        """Have something drawn after what was asked for before; a process that is gone draws nothing."""
        if self._process is None:
            return
        try:
            with _memory_file() as file:
                file.write(ForkingPickler.dumps((drawing, arguments)))
                file.flush()
                socket.send_fds(self._line, [b"!"], [file.fileno()])
        except OSError as error:
            self._give_up(str(error))
            return
        self._asked += 1

    @property
    def is_idle(self) -> bool:
        """Whether all that was asked for is done, or will never be."""
        self._listen(0.0)
        return not self._asked

    def finished(self) -> list[Path]:
        """Return the files drawn since this was last called."""
        self._listen(0.0)
        drawn, self._drawn = self._drawn, []
        return drawn

    def wait(self) -> None:
        """Return when all is drawn, or has failed, or takes too long."""
        if self._process is not None:
            with contextlib.suppress(OSError):  # not everybody may
                os.setpriority(os.PRIO_PROCESS, self._process.pid, os.getpriority(os.PRIO_PROCESS, 0))
        while self._asked:
            if not self._listen(LONGEST_DRAWING_S):
                self._give_up(f"it took more than {LONGEST_DRAWING_S:.0f} s")

    def _listen(self, timeout_s: float) -> bool:
        """Take in what the process says until it is silent; return whether it said anything within a time."""
        has_spoken = False
        while self._asked and wait([self._line], 0.0 if has_spoken else timeout_s):
            has_spoken = True
            with contextlib.suppress(ConnectionError):
                self._heard += (piece := self._line.recv(_MESSAGE_BYTES))
                if piece:
                    self._take()
                    continue
            self._give_up("the process is gone")
        return has_spoken

    def _take(self) -> None:
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            answer = json.loads(line)
            self._asked -= 1
            self._drawn += [Path(os.fsdecode(bytes.fromhex(name))) for name in answer["files"]]
            self.failure, self.spent_s = self.failure or answer["failure"], answer["spent_s"]

    def _give_up(self, why: str) -> None:
        self.failure = self.failure or why
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process, self._asked = None, 0


def _memory_file() -> IO[bytes]:
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("accel_yolo drawing"), "w+b")
    return tempfile.TemporaryFile()


def _end(owner: int, process: subprocess.Popen[bytes] | None, line: socket.socket) -> None:
    if os.getpid() != owner:  # a forked copy: a data worker
        return
    line.close()
    if process is not None:
        process.kill()
        process.wait()


def serve(number: str, parent: str) -> None:
    """Draw what is asked for on a socket, until nobody asks any more.

    Args:
        number: descriptor of the socket.
        parent: id of the process that asks.
    """
    leave_signals_to_the_run()  # they go to all processes of a terminal, a job or a container; the parent decides
    end_with_parent(signal.SIGKILL)
    if sys.platform == "linux" and os.getppid() != int(parent):
        return
    os.nice(_LOW_PRIORITY)
    import cv2

    cv2.setNumThreads(0)
    line = socket.socket(fileno=int(number))
    while True:
        _, descriptors, *_ = socket.recv_fds(line, 1, 1)
        if not descriptors:
            return
        files, failure = list[Path](), ""
        try:
            with os.fdopen(descriptors[0], "rb") as file:
                file.seek(0)
                drawing, arguments = pickle.load(file)
            files = drawing(*arguments)
        except UserError as error:
            failure = str(error)
        except Exception as error:  # noqa: BLE001 - told to the process that asked
            failure = f"{type(error).__name__}: {' '.join(str(error).split())}"
        answer = {
            "files": [os.fsencode(path).hex() for path in files],
            "failure": failure,
            "spent_s": time.process_time(),
        }
        line.sendall(json.dumps(answer).encode() + b"\n")
