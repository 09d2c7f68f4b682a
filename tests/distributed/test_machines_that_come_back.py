"""Two machines under --max-restarts: what is lost comes back and joins, and the run ends with the bits of any other."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from namespaces import Machine, two_machines, wired_machines
from processes import run_in_processes
from watched import train_words

ROOT = Path(__file__).resolve().parents[2]
PORT, TIMEOUT_S = 29541, 5
LIMIT_S = 150

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@dataclass
class Pair:
    """Two machines and what was started on them."""

    machines: tuple[Machine, Machine]
    started: dict[int, subprocess.Popen[str]]
    name: str

    def start(self, number: int, *more: str, **variables: str) -> None:
        """Start our launcher, with one process, on a machine."""
        machine = self.machines[number]
        where = ["--machines", "2", "--machine-rank", str(number), "--main-process-ip", "10.77.0.1"]
        where += ["--main-process-port", str(PORT), "--processes", "1", "--connect-timeout", "60"]
        where += ["--collective-timeout", str(TIMEOUT_S), *more]
        words = train_words(machine.disk / "data" / "data.yaml", machine.disk / self.name)
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "VIRTUAL_ENV") if name in os.environ}
        folders = {name: str(machine.disk / name.lower()) for name in ("HOME", "HF_HOME", "ACCEL_YOLO_CACHE")}
        environment = {**kept, **folders, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **variables}
        with self.output(number).open("a") as stream:
            command = [sys.executable, "-m", "accel_yolo", "train", *words, *where]
            self.started[number] = machine.start(command, environment, stdout=stream)

    def output(self, number: int) -> Path:
        return self.machines[number].folder / f"{self.name}.txt"

    def text(self, number: int) -> str:
        """Return what was said on a machine."""
        return self.output(number).read_text()

    def errors(self, number: int) -> list[str]:
        return [line for line in self.text(number).splitlines() if line.startswith("error: ")]

    @property
    def run(self) -> Path:
        """The folder of the run, on the disk of machine 0."""
        return self.machines[0].folder / self.name / "exp"

    def until(self, holds: Callable[[], object], within_s: float = LIMIT_S) -> None:
        end_s = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < end_s, f"{self.text(0)}\n---\n{self.text(1)}"
            time.sleep(0.05)

    def until_checkpoint(self) -> None:
        self.until(lambda: list(self.run.glob("checkpoints/step-*")))

    def kill_machine(self, number: int) -> None:
        """End all processes of a machine at once."""
        for pid in self.machines[number].processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.started[number].wait()

    def ends(self) -> list[int]:
        """Return the exit statuses of both launchers; no process is left 10 s later."""
        self.until(lambda: all(process.poll() is not None for process in self.started.values()))
        self.until(lambda: not any(machine.processes() for machine in self.machines), 10)
        return [self.started[number].returncode for number in (0, 1)]

    def sha256(self) -> str:
        return json.loads((self.run / "metrics.json").read_text())["state_sha256"]


def furnished(machines: tuple[Machine, Machine], sparse_data: Path) -> tuple[Machine, Machine]:
    """Give each machine a copy of the data."""
    for machine in machines:
        shutil.copytree(sparse_data.parent, machine.folder / "data")
        text = sparse_data.read_text().replace(str(sparse_data.parent), str(machine.disk / "data"))
        (machine.folder / "data" / "data.yaml").write_text(text)
    return machines


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory, sparse_data: Path) -> Iterator[tuple[Machine, Machine]]:
    with two_machines(tmp_path_factory.mktemp("lan")) as made:
        yield furnished(made, sparse_data)


@pytest.fixture
def pair(machines: tuple[Machine, Machine], request: pytest.FixtureRequest) -> Iterator[Pair]:
    name = request.node.name.replace("[", "-").replace("]", "").replace(" ", "-")
    yield Pair(machines, {}, name)
    for machine in machines:
        for pid in machine.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def undisturbed(sparse_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the run in one process."""
    return run_in_processes(1, _trained, train_words(sparse_data, tmp_path_factory.mktemp("alone")))[0]


def _trained(words: list[str]) -> str:
    from accel_yolo.cli import run

    assert run("train", words) == 0
    project = Path(words[words.index("--project") + 1])
    return json.loads((project / "exp" / "metrics.json").read_text())["state_sha256"]


def test_a_killed_process_of_one_machine_has_both_start_again(pair: Pair, undisturbed: str) -> None:
    for number in (0, 1):
        pair.start(number, "--max-restarts", "2", ACCEL_YOLO_FAIL="forward:1:6:kill")
    assert pair.ends() == [0, 0], pair.text(0) + pair.text(1)
    assert "note: process 1 was killed by SIGKILL (out of memory?); restart 1 of 2, from step 4" in pair.text(0)
    assert pair.sha256() == undisturbed


def test_a_machine_that_was_lost_joins_by_itself_when_it_is_started_again(pair: Pair, undisturbed: str) -> None:
    for number in (0, 1):
        pair.start(number, "--max-restarts", "2", ACCEL_YOLO_FAIL="forward:1:6:hang")
    pair.until_checkpoint()
    pair.kill_machine(1)
    pair.until(lambda: "; restart 1 of 2, from step 4" in pair.text(0))
    pair.until(lambda: "note: waiting for 1 of 2 machines: machine 1 (beta), process 1" in pair.text(0))
    pair.start(1, "--max-restarts", "2")
    assert pair.ends() == [0, 0], pair.text(0) + pair.text(1)
    assert pair.sha256() == undisturbed


def test_a_machine_that_is_back_before_it_was_missed_joins_as_well(pair: Pair, undisturbed: str) -> None:
    for number in (0, 1):
        pair.start(number, "--max-restarts", "2", "--collective-timeout", "60", ACCEL_YOLO_FAIL="forward:1:6:hang")
    pair.until_checkpoint()
    pair.kill_machine(1)
    pair.start(1, "--max-restarts", "2", "--collective-timeout", "60")
    assert pair.ends() == [0, 0], pair.text(0) + pair.text(1)
    assert pair.text(0).count("; restart ") == 1 and "; restart 1 of 2, from step 4" in pair.text(0)
    assert pair.sha256() == undisturbed


@pytest.mark.parametrize("asked", [0, 1])
def test_a_signal_to_one_launcher_stops_both_machines_in_order(pair: Pair, undisturbed: str, asked: int) -> None:
    for number in (0, 1):
        pair.start(number, "--max-restarts", "2", ACCEL_YOLO_FAIL="data:*:6:2")
    pair.until_checkpoint()
    pair.started[asked].send_signal(signal.SIGTERM)
    assert pair.ends() == [75, 75], pair.text(0) + pair.text(1)
    for number in (0, 1):
        (line,) = pair.errors(number)
        assert line.startswith("error: stopped by SIGTERM in epoch ") and "--resume " in line, line
        assert "; restart " not in pair.text(number)
    if asked == 0:
        return
    del pair.started[1], pair.started[0]
    for number in (0, 1):
        pair.start(number, "--resume", str(pair.machines[number].disk / pair.name / "exp"))
    assert pair.ends() == [0, 0], pair.text(0) + pair.text(1)
    assert pair.sha256() == undisturbed


@pytest.mark.parametrize("more", [(), ("--max-restarts", "2")], ids=["no restarts", "restarts"])
def test_a_cable_pulled_out_is_named_on_both_sides(pair: Pair, undisturbed: str, more: tuple[str, ...]) -> None:
    for number in (0, 1):
        pair.start(number, *more, ACCEL_YOLO_FAIL="data:*:4:3")  # three seconds to pull it out
    pair.until_checkpoint()
    pair.machines[1].cable("down")
    cut_at = time.monotonic()
    try:
        if more:
            pair.until(lambda: "; restart 1 of 2" in pair.text(0) and "trying to reach" in pair.text(1), 60)
        else:
            codes = pair.ends()
            assert codes == [5, 5]
            assert time.monotonic() - cut_at < TIMEOUT_S + 3 + 10
            assert "lost contact with machine 1 (beta, 10.77.0.2)" in pair.errors(0)[0]
            assert "lost contact with machine 0 (" in pair.errors(1)[0] and "10.77.0.1" in pair.errors(1)[0]
            assert [len(pair.errors(number)) for number in (0, 1)] == [1, 1]
    finally:
        pair.machines[1].cable("up")
    if more:
        assert pair.ends() == [0, 0], pair.text(0) + pair.text(1)
        assert pair.sha256() == undisturbed


def test_a_cable_that_is_out_for_a_second_is_survived(pair: Pair, undisturbed: str) -> None:
    for number in (0, 1):
        pair.start(number, "--collective-timeout", "30")
    pair.until_checkpoint()
    pair.machines[1].cable("down")
    time.sleep(1)  # this is what the test is about
    pair.machines[1].cable("up")
    assert pair.ends() == [0, 0], pair.text(0) + pair.text(1)
    assert pair.sha256() == undisturbed


def test_a_cable_that_takes_50_ms_and_loses_2_percent_is_survived(
    tmp_path: Path, sparse_data: Path, undisturbed: str
) -> None:
    with wired_machines(tmp_path) as (machines, weather):
        pair = Pair(furnished(machines, sparse_data), {}, "slow")
        weather.turn(delay_ms=50, loss_percent=2)
        for number in (0, 1):
            pair.start(number)
        assert pair.ends() == [0, 0], pair.text(0) + pair.text(1)
        assert pair.sha256() == undisturbed
        assert "restart" not in pair.text(0) and not pair.errors(0)


def test_without_machine_0_the_other_one_ends(pair: Pair) -> None:
    for number in (0, 1):
        pair.start(number, "--max-restarts", "2", "--connect-timeout", "3", ACCEL_YOLO_FAIL="forward:0:6:hang")
    pair.until_checkpoint()
    pair.kill_machine(0)
    assert pair.ends()[1] == 5
    assert "machine 0" in pair.errors(1)[0] and len(pair.errors(1)) == 1
    assert "trying to reach machine 0 (10.77.0.1) again" in pair.text(1)
