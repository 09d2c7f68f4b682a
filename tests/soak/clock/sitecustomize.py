"""A wall clock that jumps: `time.time` is off by what a file says, in seconds; monotonic clocks go on."""

import os
import time
from pathlib import Path

_true = time.time


def _jumping() -> float:
    try:
        return _true() + float(Path(os.environ["SOAK_CLOCK"]).read_text(encoding="ascii") or 0)
    except (OSError, ValueError):
        return _true()


if "SOAK_CLOCK" in os.environ:
    time.time = _jumping
