"""Disturb trainings with random faults until the time is over; each must end as the one that nobody disturbed."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from circumstances import circumstances
from namespaces import HAS_TUN, two_machines, wired_machines

from accel_yolo import console
from soak.faults import FAULTS
from soak.stage import Stage
from soak.trial import Tally, Trial

_INSIDE = "SOAK_INSIDE"


def main() -> int:
    """Return the exit status: 0 when everything held."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="decides topologies and faults")
    parser.add_argument("--one-machine", action="store_true", help="without namespaces")
    parser.add_argument("--record", type=Path, help="write a table of what was done")
    parser.add_argument("--keep", action="store_true", help="leave the folder of a failed soak")
    arguments = parser.parse_args()
    if _INSIDE not in os.environ:  # mounts are our own, and gone with this process
        words = ["unshare", "-m", "--propagation", "private", sys.executable, "-m", "soak", *sys.argv[1:]]
        os.execvpe(words[0], words, os.environ | {_INSIDE: "1"})
    console.quiet()
    folder = Path(tempfile.mkdtemp(prefix="accel-yolo-soak-"))
    tally, begin = Tally(), time.monotonic()
    try:
        with _stage(folder, one_machine=arguments.one_machine) as stage:
            _soak(stage, arguments, tally)
    except (AssertionError, OSError) as error:
        print(f"\nFAILED after {time.monotonic() - begin:.0f} s with --seed {arguments.seed}: {error}", flush=True)
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    summary = _summary(arguments, tally, time.monotonic() - begin)
    print(summary)
    if arguments.record:
        arguments.record.write_text(summary)
    return 0


@contextlib.contextmanager
def _stage(folder: Path, *, one_machine: bool) -> Iterator[Stage]:
    with contextlib.ExitStack() as stack:
        stage = Stage(folder)
        stack.enter_context(stage.small_disk())
        if not one_machine:  # they see the disk that is there when they are made
            place = folder / "machines"
            if HAS_TUN:
                stage.machines, stage.weather = stack.enter_context(wired_machines(place))
            else:
                stage.machines = stack.enter_context(two_machines(place))
        yield stage


def _soak(stage: Stage, arguments: argparse.Namespace, tally: Tally) -> None:
    rng = random.Random(arguments.seed)
    expected = Trial(stage, "undisturbed", rng, Tally(), _tell).play(until=0.0)
    _tell(f"undisturbed: {expected}")
    until = time.monotonic() + 60 * arguments.minutes
    while time.monotonic() < until:
        name = f"run{tally.runs}"
        found = Trial(stage, name, rng, tally, _tell).play(until)
        assert found == expected, f"{name} ended as {found}, undisturbed as {expected}"
        _tell(f"{name}: ended as if undisturbed; {sum(tally.faults.values())} faults so far")
        shutil.rmtree(stage.runs / name)


def _tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _summary(arguments: argparse.Namespace, tally: Tally, seconds: float) -> str:
    lines = [
        "# Soak",
        "",
        circumstances(f"make soak MINUTES={arguments.minutes:g} SEED={arguments.seed}"),
        "",
        f"{tally.runs} runs with {tally.starts} starts met {sum(tally.faults.values())} faults in "
        f"{seconds / 60:.0f} min. All ended with the state, bit for bit, of the run that nobody disturbed; no process, "
        "lock or checkpoint was left or lost, and every exit status was one that its faults explain.",
        "",
        "| fault | times |",
        "|---|---|",
        *(f"| {kind} | {tally.faults[kind]} |" for kind in FAULTS),
        "",
        "| exit status of a start (of each machine) | times |",
        "|---|---|",
        *(f"| {codes} | {count} |" for codes, count in sorted(tally.endings.items())),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
