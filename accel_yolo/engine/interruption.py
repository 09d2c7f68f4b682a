"""Signals that ask a run to stop, and how all processes come to stop at the same step.

The first signal is noted, told to the others with a message that is sent anyway, and obeyed when all know it. A second
one ends the process at once. Ctrl-C reaches the processes from the terminal and from their launcher, so what comes
within a moment of the first counts as the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from types import FrameType, TracebackType
from typing import Any

import torch

from accel_yolo.engine import stacks
from accel_yolo.engine.failures import record
from accel_yolo.engine.messages import PendingSum
from accel_yolo.engine.signals import ASKING, SAME_WITHIN_S
from accel_yolo.engine.world import World
from accel_yolo.errors import UserError

ORPHAN_S = 5.0
"""How long a process without a launcher may take to stop."""


class StopAsked(Exception):
    """All processes have agreed to stop."""


class Interruption:
    """Takes signals between `with` and its end, and says when all processes have agreed to stop.

    Attributes:
        agreed: the signal for which all processes stop; None as long as they go on.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._asked: set[int] = set()
        self._earlier: dict[int, Any] = {}
        self._watch: _Watch | None = None
        self.agreed: signal.Signals | None = None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is not threading.main_thread():
            return self  # signals come to the main thread only
        heeded = [number for number in ASKING if signal.getsignal(number) != signal.SIG_IGN]  # `nohup` and the like
        self._watch = _Watch(heeded)
        for number in heeded:
            self._earlier[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        self._earlier.clear()
        if self._watch is not None:
            self._watch.close()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked.add(number)

    def word(self) -> list[int]:
        """Return what this process says: a number for each signal."""
        return [int(number in self._asked) for number in ASKING]

    def hear(self, total: Sequence[int]) -> None:
        """Take in the sum of what all processes said."""
        asked = [number for number, count in zip(ASKING, total, strict=True) if count]
        if asked and self.agreed is None:
            self.agreed = signal.Signals(asked[0])

    def rounds(self, most: int) -> Rounds:
        """Return the agreement of a phase in which the processes take up to `most` turns, some of them fewer."""
        return Rounds(self, self._world, most)

    def start_word(self) -> PendingSum:
        """Start the agreement of a turn."""
        return self._world.start_sum(torch.tensor(self.word(), dtype=torch.int64))


class Rounds:
    """An agreement at each turn, started one turn ahead, so that nobody waits who is not far ahead of the others."""

    def __init__(self, interruption: Interruption, world: World, most: int) -> None:
        self._interruption, self._left = interruption, most
        self._ahead = interruption.start_word()

    def turn(self) -> None:
        """Begin a turn.

        Raises:
            StopAsked: all processes have agreed to stop; on all of them in the same turn.
        """
        current, self._left = self._ahead, self._left - 1
        self._ahead = self._interruption.start_word()
        self._hear(current)

    def end(self) -> None:
        """Take the turns that other processes have more. Raises StopAsked."""
        while self._left > 0:
            self.turn()
        self._hear(self._ahead)

    def _hear(self, word: PendingSum) -> None:
        self._interruption.hear(word.wait().tolist())
        if self._interruption.agreed is not None:
            raise StopAsked


class _Watch:
    """Ends the process when a second signal comes, even while its main thread waits for another process.

    A process whose launcher is gone gets no second signal: a while after the first one it ends as well.
    """

    def __init__(self, heeded: Sequence[int]) -> None:
        self._heeded, self._parent = heeded, os.getppid()
        self._mine, theirs = socket.socketpair()
        theirs.setblocking(False)
        self._theirs, self._before = theirs, signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._listen, name="signals", daemon=True).start()

    def _listen(self) -> None:
        first_s: float | None = None
        while numbers := self._received(first_s):
            for number in set(numbers) & set(self._heeded):
                now_s = time.monotonic()
                first_s = now_s if first_s is None else first_s
                if now_s - first_s >= SAME_WITHIN_S:
                    _end_at_once(number, f"by a second {signal.Signals(number).name}")

    def _received(self, first_s: float | None) -> bytes:
        """Return the numbers of the next signals; b"" when there will be none."""
        while first_s is not None and not wait([self._mine], ORPHAN_S):
            if os.getppid() != self._parent:
                _end_at_once(signal.SIGTERM, "since its launcher is gone")
        return self._mine.recv(64)

    def close(self) -> None:
        """Stop watching."""
        signal.set_wakeup_fd(self._before)
        self._theirs.close()  # ends the thread


def _end_at_once(number: int, why: str) -> None:
    error = UserError(f"ended at once {why}", remedy="--resume takes its newest whole checkpoint")
    error.exit_code = 128 + number
    with contextlib.suppress(Exception):
        if not record(error):
            os.write(2, f"\nerror: {error}\n".encode())
    stacks.remove_unused()
    os._exit(error.exit_code)
