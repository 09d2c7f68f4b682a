"""Stacks of a process: what the caller had set up is there again afterwards, and no empty file is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

START = """
import faulthandler, os, signal, sys
from pathlib import Path
from accel_yolo.engine import stacks
first, second = Path(sys.argv[1]), Path(sys.argv[2])
"""


def program(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    for name in ("first", "second"):
        (folder / name).mkdir()
    words = [sys.executable, *options, "-c", START + text, str(folder / "first"), str(folder / "second")]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.txt"))


def test_the_signal_and_the_handler_of_crashes_are_as_before(tmp_path: Path) -> None:
    """As those of pytest or a notebook."""
    done = program(
        tmp_path,
        """
signal.signal(stacks.ASK, lambda *_: print("asked", flush=True))
stacks.keep_in(first, 0)
assert faulthandler.is_enabled()
stacks.leave()
assert faulthandler.is_enabled()
os.kill(os.getpid(), stacks.ASK)
""",
        "-X",
        "faulthandler",
    )
    assert (done.returncode, done.stdout) == (0, "asked\n"), done.stderr
    assert files(tmp_path) == []


def test_where_there_was_no_handler_of_crashes_there_is_none_again(tmp_path: Path) -> None:
    done = program(
        tmp_path, "stacks.keep_in(first, 0)\nassert faulthandler.is_enabled()\nstacks.leave()\n"
        "assert not faulthandler.is_enabled()"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_second_run_in_the_process_leaves_no_empty_file_of_the_first(tmp_path: Path) -> None:
    done = program(
        tmp_path,
        """
stacks.keep_in(first, 0)
stacks.keep_in(second, 0)
assert not list(first.iterdir())
os.kill(os.getpid(), stacks.ASK)
""",
    )
    assert done.returncode == 0, done.stderr
    assert files(tmp_path) == ["second/stacks-0.txt"]
    assert "most recent call first" in (tmp_path / "second" / "stacks-0.txt").read_text()


def test_a_process_that_ends_at_once_leaves_no_empty_file(tmp_path: Path) -> None:
    done = program(
        tmp_path,
        """
import time
from accel_yolo.engine import faults
stacks.keep_in(first, 0)
faults._END_S = 0.1
faults._end_for_certain(5)
time.sleep(60)
""",
    )
    assert done.returncode == 5, done.stderr
    assert files(tmp_path) == []
