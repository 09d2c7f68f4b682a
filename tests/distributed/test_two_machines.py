"""Two machines with networks, host names and disks of their own train one model."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from jobs import interrupted_run, tiny_config
from namespaces import Machine, two_machines
from processes import run_in_processes, run_on

from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.config.val_schema import ValConfig

ROOT = Path(__file__).resolve().parents[2]
PORT = 29511  # each pair of machines has a network of its own
EXACT = {"batch": 24, "nominal_batch": 24, "micro_batch": 2, "bn_group": 2, "bit_exact": True}
LIMIT_S = 150


@dataclass(frozen=True)
class Lan:
    """Two machines with equal copies of a small data set."""

    machines: tuple[Machine, Machine]

    @property
    def disk(self) -> Path:
        """The folder that each machine sees as its own."""
        return self.machines[0].disk

    @property
    def data(self) -> Path:
        """The data YAML, as each machine sees it."""
        return self.disk / "data" / "data.yaml"


@dataclass(frozen=True)
class Ended:
    """How a command on a machine ended."""

    code: int
    text: str
    seconds: float

    @property
    def errors(self) -> list[str]:
        """The error lines."""
        return [line for line in self.text.splitlines() if line.startswith("error: ")]

    def error(self, *parts: str) -> str:
        """Return the one error line after checking that it is one and holds these parts."""
        assert self.code != 0
        assert "Traceback" not in self.text, self.text
        assert len(self.errors) == 1, self.text
        for part in parts:
            assert part in self.errors[0], self.text
        return self.errors[0]


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory, sparse_data: Path) -> Iterator[Lan]:
    with two_machines(tmp_path_factory.mktemp("lan")) as machines:
        for machine in machines:
            copied = machine.folder / "data"
            shutil.copytree(sparse_data.parent, copied)
            text = sparse_data.read_text().replace(str(sparse_data.parent), str(machine.disk / "data"))
            (copied / "data.yaml").write_text(text)
        yield Lan(machines)


def environment(machine: Machine, **more: str) -> dict[str, str]:
    """Return the variables of a user on a machine: nothing about processes, caches on its own disk."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "VIRTUAL_ENV") if name in os.environ}
    folders = {name: str(machine.disk / name.lower()) for name in ("HOME", "HF_HOME", "ACCEL_YOLO_CACHE")}
    return {**kept, **folders, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), **more}


def ours(rank: int, processes: int, address: str = "10.77.0.1", port: int = PORT) -> list[str]:
    where = ["--machines", "2", "--machine-rank", str(rank), "--main-process-ip", address, "--device", "cpu"]
    return [
        sys.executable, "-m", "accel_yolo", "train", *where, "--main-process-port", str(port),
        "--processes", str(processes),
    ]  # fmt: skip


def torchrun(rank: int, processes: int) -> list[str]:
    return [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(rank),
        "--master-addr", "10.77.0.1", "--master-port", str(PORT), "--nproc-per-node", str(processes),
        str(ROOT / "train.py"), "--device", "cpu",
    ]  # fmt: skip


def accelerate(rank: int, processes: int) -> list[str]:
    return [
        sys.executable, "-m", "accelerate.commands.launch",
        "--config_file", str(ROOT / "accelerate_configs" / f"2x{processes}cpu.yaml"), "--machine_rank", str(rank),
        "--main_process_ip", "10.77.0.1", "--main_process_port", str(PORT), str(ROOT / "train.py"), "--device", "cpu",
    ]  # fmt: skip


def training(lan: Lan, name: str, **changes: Any) -> list[str]:
    """Return the flags of a bit-exact training of an epoch."""
    flags = {
        "data": lan.data, "weights": "", "cfg": "yolov5n.yaml", "imgsz": 64, "batch": 24, "nominal-batch": 24,
        "micro-batch": 2, "bn-group": 2, "epochs": 1, "workers": 0, "project": lan.disk / "runs", "name": name,
        **{key.replace("_", "-"): value for key, value in changes.items()},
    }  # fmt: skip
    return [
        "--bit-exact",
        "--noautoanchor",
        "--noplots",
        *(str(word) for flag, value in flags.items() for word in (f"--{flag}", value)),
    ]


def started(machine: Machine, words: Sequence[str], log: str, **more: str) -> tuple[subprocess.Popen[str], Path]:
    """Start a command on a machine; its output goes to a file on its disk."""
    path = machine.folder / f"{log}.txt"
    with path.open("w") as stream:
        return machine.start(list(words), environment(machine, **more), stdout=stream), path


def ended(commands: Sequence[tuple[subprocess.Popen[str], Path]], limit_s: float = LIMIT_S) -> list[Ended]:
    """Wait for commands on both machines and return how each ended."""
    begin, found = time.monotonic(), {}
    while len(found) < len(commands):
        assert time.monotonic() - begin < limit_s, "\n".join(path.read_text() for _, path in commands)
        for number, (process, path) in enumerate(commands):
            if number not in found and process.poll() is not None:
                found[number] = Ended(process.returncode, path.read_text(), time.monotonic() - begin)
        time.sleep(0.05)
    return [found[number] for number in range(len(commands))]


def sha256_of(machine: Machine, name: str) -> str:
    """Return the digest of the final state of a run, as it lies on the disk of a machine."""
    return json.loads((machine.folder / "runs" / name / "metrics.json").read_text())["state_sha256"]


def finished_run(config: TrainConfig) -> dict[str, Any]:
    """Train, and return the metrics with the digest of the state if this process's disk has them."""
    from accel_yolo.engine.train import train

    train(config, {})
    path = Path(config.project) / config.name / "metrics.json"
    metrics = json.loads(path.read_text()) if path.is_file() else {}
    metrics.pop("speed_ms", None)
    return {"metrics": metrics, "host": socket.gethostname()}


def exact_config(lan: Lan, name: str, **changes: Any) -> TrainConfig:
    hyp = Hyp(mosaic=1.0, fliplr=0.5, warmup_epochs=1, lr0=0.01)
    return tiny_config(lan.data, lan.disk / "runs", hyp=hyp, name=name, **{**EXACT, "epochs": 2, **changes})


@pytest.fixture(scope="module")
def alone(sparse_data: Path, tmp_path_factory: pytest.TempPathFactory, lan: Lan) -> dict[str, Any]:
    """The metrics of the same run on one process."""
    config = replace(
        exact_config(lan, "alone"), data=str(sparse_data), project=str(tmp_path_factory.mktemp("alone-runs"))
    )
    return run_in_processes(1, finished_run, config)[0]["metrics"]


def test_two_machines_with_two_processes_each_compute_the_bits_of_one_process(lan: Lan, alone: dict[str, Any]) -> None:
    results = run_on(lan.machines, 2, finished_run, exact_config(lan, "four"))
    assert [result["host"] for result in results] == ["alpha", "alpha", "beta", "beta"]
    assert results[0]["metrics"] == alone, "the metrics to the last digit, and the digest of the state"
    assert results[2]["metrics"] == {}, "what machine 0 wrote is not on the disk of machine 1"


def test_a_run_is_resumed_though_machine_1_has_no_checkpoint(lan: Lan, alone: dict[str, Any]) -> None:
    run_on(lan.machines, 1, interrupted_run, exact_config(lan, "resumed"), 1)
    assert not list((lan.machines[1].folder / "runs" / "resumed").glob("checkpoints/*"))
    config = exact_config(lan, "resumed", resume=str(lan.disk / "runs" / "resumed"))
    results = run_on(lan.machines, 1, finished_run, config)
    assert results[0]["metrics"] == alone


def test_validation_gives_the_same_numbers_on_two_machines(
    lan: Lan, coco128: Path, published_weights: Path, tmp_path: Path
) -> None:
    config = ValConfig(
        data=str(coco128), weights=(str(published_weights),), imgsz=160, device="cpu", workers=0, exist_ok=True,
        project=str(tmp_path / "val"), name="alone",
    )  # fmt: skip
    alone = run_in_processes(1, metrics_of, config)[0]
    assert alone["map50"] > 0.1
    for metrics in run_on(lan.machines, 2, metrics_of, replace(config, project=str(lan.disk / "val"))):
        assert metrics == alone


def metrics_of(config: ValConfig) -> dict[str, Any]:
    from accel_yolo.engine.validate import validate

    metrics = validate(config)
    return {key: value for key, value in metrics.items() if key != "speed_ms"}


@pytest.mark.parametrize("late", [0, 1], ids=["machine 0 late", "machine 1 late"])
def test_either_machine_may_come_late(lan: Lan, late: int) -> None:
    assert run_on(lan.machines, 1, greeted, "10.77.0.1", late) == [["alpha", "beta"]] * 2


def test_machine_0_may_be_called_by_a_name_that_it_takes_for_loopback(lan: Lan) -> None:
    assert "127.0.1.1 alpha" in (lan.machines[0].disk.parent / "hosts-alpha").read_text()
    assert run_on(lan.machines, 2, greeted, "alpha") == [["alpha", "alpha", "beta", "beta"]] * 4


def greeted(address: str, late: int = -1) -> list[str]:
    """Return the host names of all processes; machine `late` comes three seconds after the other."""
    from accel_yolo.engine.world import World

    os.environ["MASTER_ADDR"] = address
    if os.environ["GROUP_RANK"] == str(late):
        time.sleep(3)  # longer than the others wait in silence
    return World.connect("cpu").gather_text(socket.gethostname())


Form = Callable[[int, int], list[str]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "processes"),
    [(ours, 1), (ours, 2), (torchrun, 1), (accelerate, 1), (accelerate, 2)],
    ids=["ours 2x1", "ours 2x2", "torchrun 2x1", "accelerate 2x1", "accelerate 2x2"],
)
def test_each_way_of_starting_computes_the_bits_of_one_process(
    lan: Lan, one_epoch: str, form: Form, processes: int
) -> None:
    name = f"{form.__name__}{processes}"
    commands = [
        started(machine, [*form(machine.number, processes), *training(lan, name)], name) for machine in lan.machines
    ]
    outcomes = ended(commands)
    assert [outcome.code for outcome in outcomes] == [0, 0], "\n".join(outcome.text for outcome in outcomes)
    assert sha256_of(lan.machines[0], name) == one_epoch
    assert outcomes[0].text.count("Results in") == 1
    assert "Results in" not in outcomes[1].text, "machine 0 speaks"
    assert not any(machine.processes() for machine in lan.machines)


@pytest.fixture(scope="module")
def one_epoch(lan: Lan) -> str:
    """The digest of one process after the epoch that the commands train."""
    machine = lan.machines[0]
    words = [sys.executable, "-m", "accel_yolo", "train", "--device", "cpu", *training(lan, "one")]
    (outcome,) = ended([started(machine, words, "one")])
    assert outcome.code == 0, outcome.text
    return sha256_of(machine, "one")


@pytest.mark.slow
@pytest.mark.parametrize("late", [0, 1], ids=["machine 0 late", "machine 1 late"])
def test_a_machine_may_start_twenty_seconds_late(lan: Lan, one_epoch: str, late: int) -> None:
    name, (first, second) = f"late{late}", (lan.machines[1 - late], lan.machines[late])
    words = training(lan, name)
    commands = [started(first, [*ours(first.number, 1), *words], name)]
    begin = time.monotonic()
    while time.monotonic() - begin < 20:  # this is what the test is about
        assert commands[0][0].poll() is None, commands[0][1].read_text()
        time.sleep(0.2)
    commands.append(started(second, [*ours(second.number, 1), *words], name))
    outcomes = ended(commands)
    assert [outcome.code for outcome in outcomes] == [0, 0], "\n".join(outcome.text for outcome in outcomes)
    assert sha256_of(lan.machines[0], name) == one_epoch
    if late == 0:
        assert outcomes[0].text.count("note: waiting for machine 0 at 10.77.0.1:29511") == 1


def stopped_by_preflight(lan: Lan, name: str, **more: str) -> list[Ended]:
    """Train on both machines, which must both stop within 5 s after the first word about it; return their ends."""
    commands = []
    for machine in lan.machines:
        variables = more if machine.number == 1 else {}
        commands.append(started(machine, [*ours(machine.number, 1), *training(lan, name)], name, **variables))
    outcomes = ended(commands)
    assert abs(outcomes[0].seconds - outcomes[1].seconds) < 5
    assert not (lan.machines[0].folder / "runs" / name / "results.csv").exists(), "training has not begun"
    assert not any(machine.processes() for machine in lan.machines)
    return outcomes


@pytest.mark.slow
def test_a_label_file_that_differs_is_named_with_its_machine(lan: Lan) -> None:
    labels = lan.machines[1].folder / "data" / "labels" / "train" / "004.txt"
    original = labels.read_text()
    labels.write_text(re.sub(r"^\d", lambda kind: str((int(kind[0]) + 1) % 3), original))
    assert labels.read_text() != original
    try:
        for outcome in stopped_by_preflight(lan, "labels"):
            outcome.error("machine 1 (beta)", "004.txt")
            assert outcome.code in (3, 5)
    finally:
        labels.write_text(original)


@pytest.mark.slow
def test_another_version_of_the_program_is_named_with_its_machine(lan: Lan) -> None:
    code = lan.machines[1].folder / "code"
    for folder in ("accel_yolo", "configs", "accelerate_configs"):
        shutil.copytree(ROOT / folder, code / folder, ignore=shutil.ignore_patterns("__pycache__"))
    version = code / "accel_yolo" / "version.py"
    version.write_text(re.sub(r'"[^"]+"\n', '"9.9.9"\n', version.read_text()))
    for outcome in stopped_by_preflight(lan, "version", PYTHONPATH=str(lan.disk / "code")):
        line = outcome.error("machine 1 (beta)", "9.9.9")
        assert "version" in line
        assert outcome.code == 5


def test_a_wrong_address_is_one_line_after_the_stated_time(lan: Lan) -> None:
    words = ["--connect-timeout", "5", *training(lan, "wrong")]
    machine = lan.machines[1]
    (outcome,) = ended([started(machine, [*ours(1, 1, "10.77.0.9"), *words], "wrong1")], 30)
    outcome.error("machine 0 did not answer within 5 s", "10.77.0.9:29511")
    assert outcome.code == 5
    assert 4 < outcome.seconds < 25


def test_a_wrong_address_is_noticed_on_machine_0_too(lan: Lan) -> None:
    words = ["--connect-timeout", "5", *training(lan, "wrong")]
    (outcome,) = ended([started(lan.machines[0], [*ours(0, 1, "10.77.0.9"), *words], "wrong0")], 30)
    outcome.error("does not lead to this machine", "10.77.0.9:29511", "10.77.0.1")
    assert outcome.code == 5


def test_machine_0_does_not_wait_for_ever_for_machine_1(lan: Lan) -> None:
    words = ["--connect-timeout", "5", *training(lan, "lonely")]
    (outcome,) = ended([started(lan.machines[0], [*ours(0, 1), *words], "lonely")], 40)
    outcome.error("the machines did not meet", f"10.77.0.1:{PORT}", "waits for 1 of 2 machines: machine 1, process 1;")
    assert outcome.code == 5
    assert outcome.seconds < 15
    assert not lan.machines[0].processes()


def test_a_busy_port_is_named_with_its_holder_and_a_free_one(lan: Lan) -> None:
    machine = lan.machines[0]
    program = f"import socket, time; s = socket.create_server(('', {PORT})); print('up', flush=True); time.sleep(60)"
    holder = machine.start([sys.executable, "-c", program], environment(machine))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "up\n"
    (outcome,) = ended([started(machine, [*ours(0, 1), *training(lan, "busy")], "busy")], 30)
    holder.kill()
    holder.communicate()
    outcome.error(f"pid {holder.pid} (python", f"10.77.0.1:{PORT}")
    assert re.search(r"port \d+ is free", outcome.errors[0])
    assert outcome.code == 7


def endless(lan: Lan, name: str, *more: str, form: Form = ours) -> list[tuple[subprocess.Popen[str], Path]]:
    """Start a training on both machines and return it when the first epoch is done."""
    words = [*more, *training(lan, name, epochs=500)]
    commands = [started(machine, [*form(machine.number, 1), *words], name) for machine in lan.machines]
    results, begin = lan.machines[0].folder / "runs" / name / "results.csv", time.monotonic()
    while not results.exists():
        assert time.monotonic() - begin < LIMIT_S, commands[0][1].read_text()
        assert not any(process.poll() for process, _ in commands), commands[0][1].read_text()
        time.sleep(0.1)
    return commands


@pytest.mark.slow
@pytest.mark.parametrize("form", [ours, torchrun, accelerate])
def test_a_cable_pulled_out_ends_both_machines_within_the_collective_timeout(lan: Lan, form: Form) -> None:
    name = f"cable-{form.__name__}"
    commands = endless(lan, name, "--collective-timeout", "5", form=form)
    lan.machines[1].cable("down")
    try:
        outcomes = ended(commands, 60)
    finally:
        lan.machines[1].cable("up")
    for outcome, other in zip(outcomes, ("machine 1 (beta", "machine 0 (alpha"), strict=True):
        (line,) = outcome.errors
        assert "lost contact with" in line and other in line, outcome.text
        assert outcome.code == (5 if form is ours else 1), outcome.text
        assert outcome.seconds < 5 + 5 + 10, "told within the timeout and five seconds, and gone ten later"
    failure = json.loads((lan.machines[0].folder / "runs" / name / "failure.json").read_text())
    assert failure["exit_code"] == 5
    begin = time.monotonic()
    while any(machine.processes() for machine in lan.machines):
        assert time.monotonic() - begin < 10
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1], ids=["machine 0", "machine 1"])
def test_a_killed_launcher_ends_both_machines_in_order(lan: Lan, victim: int) -> None:
    commands = endless(lan, f"killed{victim}")
    commands[victim][0].kill()
    outcomes = ended(commands, 20)
    # Its own processes have saved what was done, and so have all others.
    outcomes[1 - victim].error("stopped by SIGTERM")
    assert outcomes[1 - victim].code == 75
    assert outcomes[1 - victim].seconds < 20
    begin = time.monotonic()
    while any(machine.processes() for machine in lan.machines):
        assert time.monotonic() - begin < 10
        time.sleep(0.1)
