"""A run of a soak: started, disturbed, started again until it is finished, and held to what must be true."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.run_lock import NAME as LOCK
from soak.faults import FAULTS, Scene, is_whole
from soak.stage import Shape, Stage, Start, end_all

GONE_WITHIN_S = 15.0
STANDS_STILL_S = 150.0
"""Longest time without a step, a checkpoint or an end: timeouts, restarts and a slow machine included."""

MOST_STARTS = 60
CALM_AFTER = 25
"""Starts after which a run is left alone, so that it ends."""

UNDISTURBED = Shape(1, 1, 0)


class Violation(AssertionError):
    """Something that must hold did not."""


@dataclass
class Tally:
    """What a soak has done so far."""

    runs: int = 0
    starts: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)


class Trial:
    """One run, from its first start to its end.

    Args:
        stage: where.
        name: of the run.
        rng: decides the faults.
        tally: what is counted.
        tell: takes lines for people.
    """

    def __init__(self, stage: Stage, name: str, rng: random.Random, tally: Tally, tell: Callable[[str], None]) -> None:
        self.stage, self.name, self.rng, self.tally, self.tell = stage, name, rng, tally, tell
        self.run = stage.runs / name
        self.damaged: set[str] = set()
        self.newest_step, self._may_be_locked = 0, False

    def play(self, until: float) -> str:
        """Disturb the run until it has finished, and return the digest of its final state.

        Args:
            until: `time.monotonic()` after which it is left alone; 0 for a run that nobody disturbs, on one process.
        """
        for number in range(MOST_STARTS):
            calm = number >= CALM_AFTER or time.monotonic() > until
            shape = self._shape() if until else UNDISTURBED
            extra = self._extra() if until else ()
            self.tell(f"{self.name}: start {number + 1}, {shape} {' '.join(extra)}{', left alone' if calm else ''}")
            start = self.stage.start(self.name, shape, extra)
            self.tally.starts += 1
            scene = Scene(self.stage, self.run, shape, start, self.rng, self.damaged)
            inflicted = self._disturb(scene, calm)
            codes = self._await_end(start)
            self._check(start, codes, inflicted)
            if all(code == 0 for code in codes):
                self.tally.runs += 1
                return json.loads((self.run / "metrics.json").read_text())["state_sha256"]
        raise Violation(f"{self.name} did not finish in {MOST_STARTS} starts")

    def _shape(self) -> Shape:
        machines = 2 if self.stage.machines and self.rng.random() < 0.35 else 1
        return Shape(
            machines, self.rng.choice((1, 2) if machines > 1 else (1, 1, 2, 2, 3, 4)), self.rng.choice((0, 0, 1))
        )

    def _extra(self) -> tuple[str, ...]:
        restarts = ("--max-restarts", "3") if self.rng.random() < 0.4 else ()
        tracked = ("--report-to", "tensorboard", "--report-timeout", "5") if self.rng.random() < 0.4 else ()
        return restarts + tracked

    def _disturb(self, scene: Scene, calm: bool) -> list[str]:
        """Inflict faults until the run ends, and return their kinds."""
        inflicted: list[str] = []
        left_alone = time.monotonic() + self.rng.choice((15, 30, 60))
        at, seen, seen_at = time.monotonic() + self.rng.uniform(4, 14), "", time.monotonic()
        while None in scene.start.codes():
            now = time.monotonic()
            progress = self._progress()
            if progress != seen:
                seen, seen_at = progress, now
            if now - seen_at > STANDS_STILL_S:
                raise Violation(f"{self.name} stands still after {inflicted}:\n{scene.start.said()[-3000:]}")
            if not calm and at < now < left_alone:
                at = now + self.rng.uniform(1.5, 8)
                inflicted += self._one_fault(scene)
            time.sleep(0.1)
        return inflicted

    def _one_fault(self, scene: Scene) -> list[str]:
        kinds = [kind for kind, fault in FAULTS.items() if fault.machines <= scene.shape.machines]
        kind = self.rng.choice(kinds)
        done = FAULTS[kind].inflict(scene)
        if not done:
            return []
        self.tell(f"{self.name}:   {done}")
        self.tally.faults[kind] += 1
        return [kind]

    def _progress(self) -> str:
        try:
            size = (self.run / "metrics.jsonl").stat().st_size
        except OSError:
            size = 0
        return f"{size} {CheckpointFolder(self.run / 'checkpoints').names()}"

    def _await_end(self, start: Start) -> list[int]:
        end = time.monotonic() + GONE_WITHIN_S
        while left := start.processes():
            if time.monotonic() > end:
                words = {pid: Path("/proc", str(pid), "cmdline").read_bytes()[-200:] for pid in left}
                end_all(left)
                raise Violation(
                    f"{self.name}: still there {GONE_WITHIN_S} s after the launchers: {words}\n{start.said()}"
                )
            time.sleep(0.05)
        return [launcher.wait() for launcher in start.launchers]

    def _check(self, start: Start, codes: list[int], inflicted: list[str]) -> None:
        said = start.said()
        allowed = {0, *(code for kind in inflicted for code in FAULTS[kind].codes)}
        last = " | ".join(line for line in said.splitlines() if line.startswith("error:")) or "no error"
        self.tell(f"{self.name}:   ended with {codes}: {last[:300]}")
        self.tally.endings[",".join(map(str, codes))] += 1
        if not set(codes) <= allowed:
            raise Violation(f"{self.name}: exit status {codes} after {inflicted}\n{said[-4000:]}")
        if "Traceback" in said:
            raise Violation(f"{self.name}: a traceback after {inflicted}\n{said[-6000:]}")
        # When its launcher is killed, too, a process leaves its lock, which the next start takes over.
        self._may_be_locked |= "kill" in inflicted
        self._may_be_locked &= (self.run / LOCK).exists()
        if (self.run / LOCK).exists() and not self._may_be_locked:
            raise Violation(f"{self.name}: the lock is still there, though nobody was killed")
        self._check_checkpoints()

    def _check_checkpoints(self) -> None:
        """Hold the run to its newest checkpoint that nobody damaged."""
        folder = CheckpointFolder(self.run / "checkpoints")
        whole = [name for name in folder.names() if name not in self.damaged]
        newest = folder.newest_valid()
        if newest is None:
            if self.newest_step:
                raise Violation(f"{self.name}: no valid checkpoint is left, of {folder.names()}")
            return
        step = int(newest.name.split("-")[1])
        if whole and int(whole[-1].split("-")[1]) > step:
            raise Violation(f"{self.name}: {whole[-1]} was damaged by nobody, and only {newest.name} is valid")
        if step < self.newest_step and self.newest_step not in {int(name.split("-")[1]) for name in self.damaged}:
            raise Violation(f"{self.name}: the newest checkpoint went back from step {self.newest_step} to {step}")
        self.newest_step = step
        self.damaged -= {name for name in folder.names() if is_whole(folder.folder / name)}  # written again since
