"""What users type into their shell next: this program, and paths from where they are."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def program() -> str:
    """Return what starts this program from the user's shell: `accel-yolo`, or the interpreter if that is not there."""
    if shutil.which("accel-yolo"):
        return "accel-yolo"
    return f"{shlex.quote(str(from_here(Path(sys.executable))))} -m accel_yolo"


def from_here(path: Path) -> Path:
    """Return a path as it is typed from the current folder."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
