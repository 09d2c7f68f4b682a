"""The tests of interrupted, damaged and hanging runs again and again, while other processes use the processors.

    make repeated ROUNDS=10 LOAD=2     # the table goes to benchmarks/results/repeated.md

A test that depends on the moment shows it here. No test is tried twice: each round counts as it came.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from circumstances import circumstances

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
        "tests/distributed/test_evaluation.py",
        "tests/distributed/test_samples_of_an_epoch.py",
    ),
    "hangs and faults": ("tests/distributed/test_hangs.py", "tests/distributed/test_data_faults.py"),
}
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100000))"


@dataclass(frozen=True)
class Round:
    """What the tests said once.

    Attributes:
        minutes: how long all took.
        passed: group -> number of tests.
        failed: group -> names of those that failed.
        ended: exit status of the test runner.
    """

    minutes: float
    passed: Counter[str]
    failed: dict[str, list[str]]
    ended: int


def main() -> int:
    """Return the exit status: 0 when every test passed each time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--load", type=int, default=2, help="busy processes beside the tests")
    parser.add_argument("--jobs", type=int, default=6, help="tests that run at a time")
    parser.add_argument("--record", action="store_true", help=f"write {RESULT.relative_to(ROOT)}")
    arguments = parser.parse_args()
    rounds: list[Round] = []
    with busy(arguments.load):
        for number in range(arguments.rounds):
            done = tested(arguments.jobs)
            rounds.append(done)
            failed = ", ".join(name for names in done.failed.values() for name in names) or "none"
            said = f"{done.passed.total()} passed, failed: {failed}, exit status {done.ended}, {done.minutes:.1f} min"
            print(f"{number + 1} of {arguments.rounds}: {said}", flush=True)
    text = table(rounds, arguments)
    print(text)
    if arguments.record:
        RESULT.write_text(text, encoding="utf-8")
    return int(any(each.ended for each in rounds))


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


def tested(jobs: int) -> Round:
    """Run the tests once and return what they said; what failed is printed in full."""
    group_of = {file.removesuffix(".py").replace("/", "."): name for name, files in GROUPS.items() for file in files}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        files = [file for files in GROUPS.values() for file in files]
        words = [sys.executable, "-m", "pytest", "-q", "-n", str(jobs), "--dist", "worksteal", *files]
        variables = os.environ | {"OMP_NUM_THREADS": "1", "ACCEL_YOLO_NO_SKIPS": "1", "PYTHONDONTWRITEBYTECODE": ""}
        begun = time.monotonic()
        done = subprocess.run(
            [*words, f"--junitxml={report}"], cwd=ROOT, capture_output=True, text=True, env=variables, check=False
        )
        minutes = (time.monotonic() - begun) / 60
        if done.returncode:
            print(done.stdout, done.stderr, flush=True)
        passed, failed = Counter(), defaultdict(list)
        for case in ElementTree.parse(report).iter("testcase") if report.exists() else ():
            group = group_of.get(case.attrib["classname"], "other")
            if len(case) == 0:
                passed[group] += 1
            else:
                failed[group].append(case.attrib["name"])
    return Round(minutes, passed, failed, done.returncode)


def table(rounds: Sequence[Round], arguments: argparse.Namespace) -> str:
    """Return the page of results."""
    minutes = [each.minutes for each in rounds]
    good = sum(not each.ended for each in rounds)
    lines = [
        "# The same tests again and again under load",
        "",
        circumstances(f"make repeated ROUNDS={len(rounds)} LOAD={arguments.load}"),
        "",
        f"{arguments.jobs} tests ran at a time, beside {arguments.load} busy processes; none was tried twice. A round "
        f"took {min(minutes):.0f} to {max(minutes):.0f} minutes. {good} of {len(rounds)} rounds passed "
        "as a whole.",
        "",
        "| tests of | in each round | failed, of all rounds |",
        "|---|---|---|",
    ]
    for name in GROUPS:
        counts = sorted({each.passed[name] + len(each.failed.get(name, ())) for each in rounds})
        failed = sum(len(each.failed.get(name, ())) for each in rounds)
        lines.append(f"| {name} | {'/'.join(map(str, counts))} | {failed} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
