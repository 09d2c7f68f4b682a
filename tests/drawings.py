"""What the drawing process of the tests draws."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import cv2

from accel_yolo.errors import DataError


def draw(path: Path, content: Any = "") -> list[Path]:
    path.write_text(f"{content if isinstance(content, str) else len(content)}")
    return [path]


def describe_process(path: Path) -> list[Path]:
    """Write what the process is: its parent, niceness, threads, whether it ignores what asks for a stop, has torch."""
    import accel_yolo.inference.output.run_pictures

    assert accel_yolo.inference.output.run_pictures.PICTURES
    asking = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    ignores = all(signal.getsignal(number) is signal.SIG_IGN for number in asking)
    threads = f"{cv2.getNumThreads()} {os.environ['OMP_NUM_THREADS']}"
    path.write_text(f"{os.getppid()} {os.nice(0)} {threads} {ignores} {'torch' in sys.modules}")
    return [path]


def fail_as_user() -> list[Path]:
    raise DataError("image cannot be read", "a.jpg")


def fail_as_we_do() -> list[Path]:
    raise ValueError("two\nlines")


def die() -> list[Path]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def never_end() -> list[Path]:
    time.sleep(600)
    return []
