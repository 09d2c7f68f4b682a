"""A process that must not outlive its parent asks the kernel to be told."""

from __future__ import annotations

import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(number: signal.Signals) -> None:
    """Have this process get a signal at once when the thread that started it ends; Linux only, else nothing happens.

    A parent that has ended before this call is not noticed: the caller looks for that afterwards.
    """
    if sys.platform == "linux":
        import ctypes  # not for every --help

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
