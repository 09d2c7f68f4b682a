"""Tests of the tests: one line of the program is made wrong at a time, and the tests that must notice are run.

    make sabotage                      # all of them; the table goes to benchmarks/results/sabotage.md
    python tests/sabotage.py --only synchronised

Each happens in a copy of the repository. A sabotage that no test notices is a test that is missing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from circumstances import circumstances
from sabotages import SABOTAGES, Sabotage

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "sabotage.md"
PASSED, NONE = "all passed", "no test was run"
LIMIT_S = 60.0
"""Longest time for the tests of one sabotage."""


@dataclass(frozen=True)
class Verdict:
    """What the tests said.

    Attributes:
        caught: a test failed, in time.
        by: the first test that failed, or what happened instead.
        seconds: how long it took.
    """

    caught: bool
    by: str
    seconds: float


def main() -> int:
    """Return the exit status: 0 when every sabotage was caught."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="those whose name contains this")
    parser.add_argument("--record", action="store_true", help=f"write {RESULT.relative_to(ROOT)}")
    arguments = parser.parse_args()
    chosen = [each for each in SABOTAGES if arguments.only in each.name]
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="accel-yolo-sabotage-") as folder:
        for tests in {each.tests for each in chosen}:  # a test that fails anyway would catch anything
            calm = tried(None, tests, Path(folder) / "copy")
            if calm.caught or calm.by != PASSED:
                print(f"without any sabotage, {' '.join(tests)}: {calm.by}", flush=True)
                return 1
        for sabotage in chosen:
            verdicts.append(tried(sabotage, sabotage.tests, Path(folder) / "copy"))
            mark = "caught" if verdicts[-1].caught else "NOT CAUGHT"
            print(f"{mark:<10} {verdicts[-1].seconds:5.0f} s  {sabotage.name}: {verdicts[-1].by}", flush=True)
    if arguments.record:
        RESULT.write_text(table(chosen, verdicts))
    return 0 if all(verdict.caught for verdict in verdicts) else 1


def tried(sabotage: Sabotage | None, tests: Sequence[str], copy: Path) -> Verdict:
    """Return what tests say of a sabotage, or of none, made in a fresh copy of the repository."""
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    if sabotage is not None:
        path = copy / sabotage.file
        text = path.read_text()
        if text.count(sabotage.right) != 1:
            return Verdict(False, f"the line is there {text.count(sabotage.right)} times", 0.0)
        path.write_text(text.replace(sabotage.right, sabotage.wrong))
    limit_s = LIMIT_S if sabotage is not None else 3 * LIMIT_S
    verdict = _run(copy, ["-m", "not slow", *tests], limit_s)
    return _run(copy, tests, limit_s) if verdict.by == NONE else verdict  # all of them are slow


def _run(copy: Path, arguments: Sequence[str], limit_s: float) -> Verdict:
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *arguments]
    # A sabotage may have processes wait for each other: then the test says so before its time is over.
    job_s = str(int(limit_s * 0.4))
    variables = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "ACCEL_YOLO_JOB_TIMEOUT_S": job_s}
    begin = time.monotonic()
    process = subprocess.Popen(
        words,
        cwd=copy,
        env=variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Verdict(False, f"no answer within {limit_s:.0f} s", limit_s)
    failed = re.search(r"^FAILED (\S+)", said, re.MULTILINE)
    if process.returncode == 1 and failed:
        return Verdict(True, failed[1].rpartition("::")[2], time.monotonic() - begin)
    if process.returncode in (-signal.SIGSEGV, -signal.SIGABRT):
        return Verdict(True, f"a crash by {signal.Signals(-process.returncode).name}", time.monotonic() - begin)
    if process.returncode == pytest.ExitCode.NO_TESTS_COLLECTED:
        return Verdict(False, NONE, time.monotonic() - begin)
    if process.returncode == 0:
        return Verdict(False, PASSED, time.monotonic() - begin)
    last = (said.strip().splitlines() or ["nothing"])[-1]
    return Verdict(False, f"pytest ended with {process.returncode}: {last}", time.monotonic() - begin)


def table(sabotages: Sequence[Sabotage], verdicts: Sequence[Verdict]) -> str:
    """Return the page of a run."""
    caught = sum(verdict.caught for verdict in verdicts)
    lines = [
        "# Sabotage",
        "",
        circumstances("make sabotage"),
        "",
        f"One line of the program made wrong at a time: {caught} of {len(verdicts)} were caught by the tests named for "
        f"them, within {max(verdict.seconds for verdict in verdicts):.0f} s each.",
        "",
        "| what was made wrong | in | caught by | s |",
        "|---|---|---|---|",
    ]
    for sabotage, verdict in zip(sabotages, verdicts, strict=True):
        by = f"`{verdict.by}`" if verdict.caught else f"**not caught**: {verdict.by}"
        lines.append(f"| {sabotage.name} | `{sabotage.file}` | {by} | {verdict.seconds:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
