"""The wish to stop, as our launcher hears it: what its processes are told, and how long it waits for them."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence

from accel_yolo.engine.endings import STOPPED, Ending, failure_of_launcher
from accel_yolo.engine.signals import SAME_WITHIN_S, Signals

SAVE_S, AT_ONCE_S = 330.0, 5.0
"""How long processes may take to save and to end after a signal, and after a second one.

The first is longer than a save may take (`writer.LONGEST_S`): whoever is in a hurry says so twice.
"""


class NoMorePatience(Exception):
    """A signal came while the launcher waited for other machines."""


class Stop:
    """Takes the signals of a launcher.

    Args:
        signals: those that come.

    Attributes:
        first: the signal that came first; None as long as nobody wishes to stop.
        until: when the patience ends.
    """

    def __init__(self, signals: Signals) -> None:
        self._signals, self._since_s = signals, 0.0
        self.first: signal.Signals | None = None
        self.until = math.inf

    def heard(self) -> Sequence[signal.Signals]:
        """Return what has come since this was last asked, and counts.

        What comes within a moment of the first is the same: a terminal that closes says it twice, and the processes
        count in the same way.
        """
        found = []
        for number in self._signals.new():
            if self.first is None:
                self.first, self._since_s, self.until = number, now(), now() + SAVE_S
            elif now() - self._since_s < SAME_WITHIN_S:
                continue
            else:
                self.until = min(self.until, now() + AT_ONCE_S)
            found.append(number)
        return found

    def look(self) -> None:
        """Raise NoMorePatience if a signal has come since this was last asked: an earlier one has been obeyed."""
        if self.heard():
            raise NoMorePatience

    def ending(self) -> Ending:
        """Return the ending of a run that was stopped before it could say how."""
        number = self.first or signal.SIGTERM
        message = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
        return Ending(STOPPED, 128 + number, failure_of_launcher(message, 128 + number))


def now() -> float:
    """Return the clock that no change of the date moves, in seconds."""
    return time.monotonic()
