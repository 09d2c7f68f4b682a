"""Signals to our launcher: noted when they come, and obeyed where the launcher looks."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any

SAME_WITHIN_S = 1.0
"""Signals that come within this time of the first are the same."""

ASKING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Signals that ask for a stop, the one that decides over the exit status first: what a person says goes before."""

_NAMES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1")


class Signals:
    """The signals that have come since the block began.

    One that was ignored before, as `nohup` has it, stays ignored.
    """

    def __init__(self) -> None:
        self.came: list[signal.Signals] = []
        self._taken = 0
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in heeded():
            self._earlier[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def new(self) -> Sequence[signal.Signals]:
        """Return those that came since this was last asked."""
        found = self.came[self._taken :]
        self._taken += len(found)
        return found

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came.append(signal.Signals(number))


def heeded() -> list[signal.Signals]:
    """Return the signals that end a run here."""
    here = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    return [number for number in here if signal.getsignal(number) != signal.SIG_IGN]
