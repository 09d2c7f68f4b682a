"""A training that comes to a chosen moment and waits there to be killed; started as `train.py` is, or by itself.

Variables: HELD_PHASE (forward, backward, validation, saving) is where process HELD_RANK waits, in the second epoch;
it says so by a file in HELD_FOLDER. Started without a launcher and with `--processes`, it is our launcher.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accel_yolo.cli import run

CALLS_BEFORE = {"forward": 5, "backward": 5, "validation": 1, "saving": 2}
"""How often the training passes each moment in the first epoch (of four steps) and a bit."""


def held(function: Callable[..., Any], phase: str) -> Callable[..., Any]:
    """Return a function that waits, instead of returning, once it has been called often enough."""
    calls = 0

    def hold(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > CALLS_BEFORE[phase]:
            marker = Path(os.environ["HELD_FOLDER"], "reached")
            marker.with_suffix(".new").write_text(str(os.getpid()))
            marker.with_suffix(".new").rename(marker)
            time.sleep(600)
        return function(*arguments, **named)

    return hold


def hold_at(phase: str) -> None:
    """Make this process wait when it comes to a phase."""
    from accel_yolo.engine import checkpoint, train
    from accel_yolo.engine.gradient import Gradient
    from accel_yolo.engine.trainable import Trainable

    owner: Any
    owner, name = {
        "forward": (Trainable, "forward"),
        "backward": (Gradient, "backward"),
        "validation": (train, "evaluate"),
        "saving": (checkpoint, "write_manifest"),  # the tensors are written, what makes them valid is not
    }[phase]
    setattr(owner, name, held(getattr(owner, name), phase))


def start_this_script() -> None:
    """Make our launcher start this script in place of the program."""
    from accel_yolo.engine import launch

    original = launch._run

    def run_script(plan: Any, arguments: Any, folder: Path) -> int:
        assert arguments[:3] == ["-m", "accel_yolo", "train"]
        return original(plan, [__file__, *arguments[3:]], folder)

    launch._run = run_script


if __name__ == "__main__":
    if "--processes" in sys.argv and "RANK" not in os.environ:
        start_this_script()
    elif os.environ.get("RANK", "0") == os.environ["HELD_RANK"]:
        hold_at(os.environ["HELD_PHASE"])
    sys.exit(run("train"))
