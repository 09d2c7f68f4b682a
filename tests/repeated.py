"""The tests of interrupted, damaged and hanging runs again and again, while other processes use the processors.

    make repeated ROUNDS=10 LOAD=4     # the table goes to benchmarks/results/repeated.md

A test that depends on the moment shows it here. No test is tried twice: each round counts as it came.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "repeated.md"
GROUPS = {
    "files: written, damaged, hostile": (
        "tests/integration/test_every_system_call.py",
        "tests/unit/engine/test_damaged_checkpoints.py",
        "tests/integration/test_hostile_files.py",
    ),
    "resume": (
        "tests/distributed/test_exact_resume.py",
        "tests/distributed/test_killed_anywhere.py",
        "tests/distributed/test_preemption.py",
    ),
    "world size": (
        "tests/distributed/test_bit_exact.py",
        "tests/distributed/test_topology_of_training.py",
        "tests/distributed/test_evaluation.py",
    ),
    "hangs and faults": ("tests/distributed/test_hangs.py", "tests/distributed/test_data_faults.py"),
}
CHOSEN = "not twenty_updates"
"""Without the minutes of training whose numbers depend on no moment."""

BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100000))"


@dataclass(frozen=True)
class Round:
    """What the tests of one group said once.

    Attributes:
        seconds: how long they took.
        passed: number of tests.
        failed: names of those that failed, or of the end of the test runner itself.
    """

    seconds: float
    passed: int
    failed: tuple[str, ...]


def main() -> int:
    """Return the exit status: 0 when every test passed each time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--load", type=int, default=4, help="busy processes beside the tests")
    parser.add_argument("--record", action="store_true", help=f"write {RESULT.relative_to(ROOT)}")
    arguments = parser.parse_args()
    rounds: dict[str, list[Round]] = {name: [] for name in GROUPS}
    with busy(arguments.load):
        for number in range(arguments.rounds):
            for name, files in GROUPS.items():
                done = tested(files)
                rounds[name].append(done)
                said = f"{done.passed} passed, failed: {', '.join(done.failed) or 'none'}"
                print(f"{number + 1} of {arguments.rounds}, {name}: {said}, {done.seconds:.0f} s", flush=True)
    text = table(rounds, arguments.load)
    print(text)
    if arguments.record:
        RESULT.write_text(text, encoding="utf-8")
    return int(any(each.failed for group in rounds.values() for each in group))


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep processes busy, which also end with this one."""
    started = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def tested(files: tuple[str, ...]) -> Round:
    """Run tests once and return what they said."""
    words = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "-k", CHOSEN, *files]
    variables = os.environ | {"OMP_NUM_THREADS": "1", "ACCEL_YOLO_NO_SKIPS": "1", "PYTHONDONTWRITEBYTECODE": ""}
    begun = time.monotonic()
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=variables, check=False)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if done.returncode and not failed:
        failed = [f"pytest ended with {done.returncode}"]
    passed = re.search(r"(\d+) passed", done.stdout)
    return Round(time.monotonic() - begun, int(passed[1]) if passed else 0, tuple(failed))


def table(rounds: dict[str, list[Round]], load: int) -> str:
    """Return the page of results."""
    count = len(next(iter(rounds.values())))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    at = (
        f"{date.today()}, commit {commit.stdout.strip()}, torch {torch.__version__}, Python {platform.python_version()}"
    )
    lines = [
        "# The same tests again and again under load",
        "",
        f"`make repeated ROUNDS={count} LOAD={load}`, {at}, {os.cpu_count()} cores.",
        "",
        f"{load} busy processes used the processors meanwhile, and no test was tried twice.",
        "",
        "| tests of | rounds | tests in each | failed | seconds of a round |",
        "|---|---|---|---|---|",
    ]
    for name, group in rounds.items():
        failed = sum(len(each.failed) for each in group)
        seconds = [each.seconds for each in group]
        passed = "/".join(map(str, sorted({each.passed for each in group})))
        lines.append(f"| {name} | {len(group)} | {passed} | {failed} | {min(seconds):.0f} to {max(seconds):.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
