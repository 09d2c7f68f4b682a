"""When, of what and where: the line below the title of a recorded page."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import date
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]


def circumstances(command: str) -> str:
    """Return the command of a page with date, commit, versions and cores."""
    words = ["git", "describe", "--always", "--dirty"]  # of the state that was measured
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"`{command}`, {date.today()}, commit {said.stdout.strip()}, {versions}, {os.cpu_count()} cores."
