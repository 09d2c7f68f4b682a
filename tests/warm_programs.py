"""The command line in a process of its own that has everything imported: seconds less than a start of Python.

For tests of what a command does. What a fresh start does (imports, variables that libraries read once) is tested with
real ones: test_starts.py, test_wheel.py, test_reference_commands.py, test_launcher.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from processes import as_started_by_hand, warm_context

JOB_TIMEOUT_S = 300


def run_program(
    arguments: Sequence[str | Path], folder: Path, changes: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Return how `accel-yolo <arguments>` ended in `folder`: exit status (negative: a signal), stdout and stderr.

    Args:
        arguments: the words after the name of the program.
        folder: where it is started.
        changes: environment variables that differ from those of this process.
    """
    words = [str(word) for word in arguments]
    environment = {**os.environ, **(changes or {})}
    with tempfile.TemporaryDirectory() as place:
        said = [Path(place) / name for name in ("stdout", "stderr")]
        process = warm_context().Process(target=_program, args=(words, folder, environment, *said), daemon=False)
        process.start()
        process.join(JOB_TIMEOUT_S)
        if process.is_alive():
            process.kill()
            process.join()
        out, err = (path.read_text(errors="replace") if path.exists() else "" for path in said)
    code = process.exitcode
    assert code is not None
    return subprocess.CompletedProcess(words, code, out, err)


def _program(words: list[str], folder: Path, environment: dict[str, str], out: Path, err: Path) -> None:
    from accel_yolo.cli import main

    as_started_by_hand()
    for path, descriptor in ((out, 1), (err, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = ["accel-yolo", *words]
    sys.exit(main(words))
