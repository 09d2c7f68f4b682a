"""The `check` command: what it shows of machines and links, and the exit status it ends with."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import Commands, make_data
from machines import join

from accel_yolo import console
from accel_yolo.config.launch_schema import CheckConfig
from accel_yolo.engine import check as command
from accel_yolo.engine import run_facts
from accel_yolo.engine.machine_facts import GIB, Needs, ProcessFacts, warnings_of
from accel_yolo.engine.world import World
from accel_yolo.errors import UserError

ITEMS = ("accel_yolo", "Python", "torch", "torchvision", "numpy", "accelerate", "safetensors", "opencv", "pillow")


# Alone


def test_alone_it_looks_at_this_machine(commands: Commands, data: Path) -> None:
    outcome = commands("check", "--device", "cpu", "--data", data).succeeded()
    heading, machine = outcome.out.splitlines()[:2]
    assert heading.split("  ")[0] == "machine"
    assert re.match(r"0 \(.+\) +1 +cpu +\d+ +[\d.]+ GiB +[\d.]+ GiB", machine)
    assert all(f"{name} " in outcome.out for name in ITEMS)
    assert "train: 4 images (4 labelled), 4 objects" in outcome.out
    assert "This machine is ready" in outcome.out
    assert "connection" not in outcome.out


def test_alone_it_reads_the_weights(commands: Commands, tmp_path: Path, published_weights: Path) -> None:
    outcome = commands("check", "--device", "cpu", "--weights", published_weights).succeeded()
    assert f"weights: {published_weights}, 80 classes, sha256 4f180cf23ba0717a..." in outcome.out
    broken = tmp_path / "broken.pt"
    broken.write_bytes(published_weights.read_bytes()[:-1000])
    commands("check", "--device", "cpu", "--weights", broken).error(4, "broken.pt")


def test_bad_data_and_missing_files_end_it_with_their_own_status(commands: Commands, data: Path) -> None:
    commands("check", "--device", "cpu", "--data", "nowhere.yaml").error(3, "no such data file", "nowhere.yaml")
    commands("check", "--device", "cpu", "--weights", "nowhere.pt").error(4, "nowhere.pt")
    commands.guarded.clear()
    (data.parent / "labels" / "2.txt").write_text("7 0.5 0.5 0.1 0.1\n")
    commands("check", "--device", "cpu", "--data", data).error(3, "too many bad images", "2.txt:1")


# Several machines


@dataclass(frozen=True)
class Seen:
    """What one process printed and how its check ended."""

    out: str
    warnings: list[str]
    code: int
    line: str


def checked(folder: Path, change: str) -> Seen:
    """Check two machines of two processes, with something changed on the second machine."""
    world = join(per_machine=2)
    root = folder / f"disk{world.machine}"
    with world.one_per_machine_first():
        if world.is_first_here:
            shutil.copytree(folder / "source", root)
            if world.machine == 1 and change == "label":
                (root / "labels" / "3.txt").write_text("2 0.5 0.5 0.4 0.4\n")
            if world.machine == 1 and change == "bad label":
                (root / "labels" / "3.txt").write_text("2 0.5\n")
    if world.machine == 1 and change == "version":
        known = run_facts.versions()
        run_facts.versions = lambda: {**known, "numpy": "1.26.4", "torch": "2.0"}
    World.start = lambda *_, **__: world  # its processes have met already, to prepare the files
    if world.is_leader:
        console.quiet(False)
    out, warnings, code, line = io.StringIO(), [], 0, ""
    console.warn = warnings.append
    with contextlib.redirect_stdout(out):
        try:
            command.check(CheckConfig(data=str(root / "data.yaml"), device="cpu"))
        except UserError as error:
            code, line = error.exit_code, "" if error.already_reported else str(error)
    return Seen(out.getvalue(), warnings, code, line)


def rows(out: str, heading: str) -> dict[str, str]:
    """Return the first column of a table and the rest of each row."""
    lines = out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(heading))
    table = [re.split(r"  +", line, maxsplit=1) for line in lines[start + 1 :]]
    return {row[0]: row[1] for row in table[: next((n for n, row in enumerate(table) if row == [""]), None)]}


def test_equal_machines_are_shown_compared_and_connected(run_processes: Callable, tmp_path: Path) -> None:
    make_data(tmp_path / "source")
    leader, *others = run_processes(4, checked, tmp_path, "nothing")
    assert [seen.out for seen in others] == [""] * 3
    assert [seen.code for seen in (leader, *others)] == [0] * 4
    machines = rows(leader.out, "machine ")
    assert list(machines) == ["0 (alpha)", "1 (beta)"]
    assert all(row.split()[:2] == ["2", "cpu"] for row in machines.values())
    compared = rows(leader.out, "compared")
    expected = [*ITEMS, "source code", "class names", "training data", "validation data"]
    assert compared == dict.fromkeys(expected, "ok")
    links = rows(leader.out, "connection")
    assert list(links) == ["control messages (gloo)", "gradients (gloo)", "machine 0 (alpha) to machine 1 (beta)"]
    assert all(re.fullmatch(r"[\d.]+ ms +\d+ MB/s", row) for row in links.values())
    assert leader.out.endswith("4 processes on 2 machines agree and reach each other\n")


def test_everything_that_differs_is_listed_and_the_error_names_the_machine(
    run_processes: Callable, tmp_path: Path
) -> None:
    make_data(tmp_path / "source")
    results = run_processes(4, checked, tmp_path, "version")
    compared = rows(results[0].out, "compared")
    assert compared["numpy"].startswith(
        "differs on machine 1 (beta): the version of numpy is 1.26.4, machine 0 (alpha)"
    )
    assert compared["torch"].startswith("differs on machine 1 (beta): the version of torch is 2.0, machine 0 (alpha)")
    assert compared["training data"] == compared["pillow"] == "ok"
    assert "connection" in results[0].out
    assert [seen.code for seen in results] == [5] * 4
    first, silent, other, silent_too = (seen.line for seen in results)
    assert first == other
    assert silent == silent_too == ""
    assert first.startswith("machines differ in the version of torch in machine 1 (beta): 2.0, machine 0 (alpha) has ")
    assert first.endswith("; they also differ in the version of numpy")


def test_data_that_differ_are_named_by_file(run_processes: Callable, tmp_path: Path) -> None:
    make_data(tmp_path / "source")
    results = run_processes(4, checked, tmp_path, "label")
    label = tmp_path / "disk1" / "labels" / "3.txt"
    row = f"differs on machine 1 (beta): {label} holds other labels: not those of machine 0 (alpha)"
    assert rows(results[0].out, "compared")["training data"] == row
    assert [seen.code for seen in results] == [3] * 4
    assert f"{label} holds other labels" in results[2].line


def test_bad_data_on_one_machine_leave_the_rest_checked(run_processes: Callable, tmp_path: Path) -> None:
    make_data(tmp_path / "source")
    results = run_processes(4, checked, tmp_path, "bad label")
    assert rows(results[0].out, "compared")["data"].startswith("cannot be compared: machine 1 (beta): too many bad")
    assert "connection" in results[0].out
    assert [seen.code for seen in results] == [3] * 4


@pytest.mark.slow
def test_our_launcher_starts_it_and_returns_its_status(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    words = [sys.executable, "-m", "accel_yolo", "check", "--processes", "2", "--device", "cpu", "--data"]
    ended = subprocess.run([*words, data], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "2 processes on 1 machine agree and reach each other" in ended.stdout
    (data.parent / "labels" / "1.txt").write_text("x\n")
    ended = subprocess.run([*words, data], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert ended.returncode == 3
    assert ended.stderr.count("error: ") == 1


# What a machine may lack

PLACES = ("machine 0 (alpha)", "machine 0 (alpha)", "machine 1 (beta)", "machine 1 (beta)")
NEEDS = Needs(Path("runs/train"), 3 * GIB, GIB, GIB // 2, workers=8)


def facts(**changes: object) -> ProcessFacts:
    usual: dict = {
        "device": "cpu", "device_key": "", "missing_device": "", "threads": 2, "cores": 8, "memory_bytes": 16 * GIB,
        "disk_bytes": 64 * GIB, "shm_bytes": 8 * GIB, "open_files": 4096, "clock_s": 1000.0,
    }  # fmt: skip
    return ProcessFacts(**{**usual, **changes})


def warned(*second_machine: ProcessFacts) -> list[str]:
    return warnings_of(PLACES, (facts(), facts(), *second_machine), NEEDS)


LACKS = {
    "disk_bytes": (2 * GIB, "little disk space for runs/train on machine 1 (beta): 2.0 GiB of 3.0 GiB; free some"),
    "shm_bytes": (64 << 20, "/dev/shm is small on machine 1 (beta): 64 MiB of 1.0 GiB that NCCL should have; enlarge"),
    "memory_bytes": (GIB, "little memory free on machine 1 (beta): 1.0 GiB of 3.0 GiB for 2 processes; end other"),
    "open_files": (256, "a process may open few files on machine 1 (beta): 256, at least 512 are needed; raise it"),
    "clock_s": (1003.0, "the clock of machine 1 (beta) is +3.0 s off that of machine 0 (alpha); set it"),
    "device": ("NVIDIA A", "unequal devices: NVIDIA A on machine 1 (beta), cpu on machine 0 (alpha)"),
    "threads": (1, "unequal threads of a process: 1 on machine 1 (beta), 2 on machine 0 (alpha)"),
    "missing_device": ("process 2 has no GPU 1 (1 are visible)", "process 2 has no GPU 1 (1 are visible) on machine 1"),
}


@pytest.mark.parametrize("name", LACKS)
def test_what_a_machine_lacks_is_a_warning_with_machine_value_and_remedy(name: str) -> None:
    value, expected = LACKS[name]
    (line,) = warned(facts(**{name: value}), facts())
    assert line.startswith(expected)


def test_processes_that_share_a_gpu_are_named() -> None:
    shared = [facts(device="NVIDIA A", device_key="machine 0 uuid")] * 2
    alone = [facts(device="NVIDIA A", device_key=f"machine 1 uuid {number}") for number in range(2)]
    (line,) = warnings_of(PLACES, (*shared, *alone), NEEDS)
    assert line.startswith("processes 0 and 1 share one GPU on machine 0 (alpha): NVIDIA A; start one process for each")


def test_a_machine_that_tells_nothing_is_not_warned_about() -> None:
    unknown = facts(memory_bytes=-1, disk_bytes=-1, shm_bytes=-1, open_files=-1)
    assert warned(unknown, unknown) == []
    assert warned(facts(), facts()) == []
