"""Every command of the pages that starts several processes runs, on CPUs and little data."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from documentation import BLOCKS, PROCESSES, commands_of, key_of, way_of
from guide_commands import Place, cpu_form
from starting import run_together

from accel_yolo.engine.network import free_port, local_address_towards
from accel_yolo.errors import PeerError

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SBATCH = DOCS / "slurm" / "train.sbatch"
MULTI_MACHINE = "docs/multi-machine.md"
OF_A_MACHINE = re.compile(r"--(machine-rank|machine_rank|node_rank) ([01])")
NOWHERE = Place(Path("data"), "address", 0)


def once(commands: Iterable[str]) -> list[str]:
    """Return commands without those that are equal to an earlier one in their CPU form."""
    forms: dict[frozenset[tuple[str, ...]], str] = {}
    for command in commands:
        forms.setdefault(key_of(cpu_form(command, NOWHERE)), command)
    return list(forms.values())


ALL = [command for command in commands_of() if way_of(command) == PROCESSES]
SHOWN = [command for command in ALL if not command.startswith("srun")]
SINGLE = once(command for command in SHOWN if not OF_A_MACHINE.search(command))
FIRST_OF_PAIR = once(command for command in SHOWN if (m := OF_A_MACHINE.search(command)) and m[2] == "0")


@pytest.fixture
def place(sparse_data: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """This machine under the address that others would use; without a network, they are told to meet on loopback."""
    try:
        address = local_address_towards("192.0.2.1")
    except PeerError:
        address = "127.0.0.1"
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            monkeypatch.setenv(name, "lo")
    return Place(sparse_data, address, free_port())


def has_result(folder: Path) -> bool:
    return any(folder.glob("runs/train/*/metrics.json"))


def test_there_are_commands_for_one_machine_and_for_two() -> None:
    assert len(SINGLE) >= 15 and len(FIRST_OF_PAIR) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("command", SINGLE, ids=str)
def test_a_command_of_the_pages_runs(command: str, tmp_path: Path, place: Place) -> None:
    words = cpu_form(command, place)
    if "runs/train/exp" in command:  # it goes on from a run
        first = cpu_form("python train.py --batch 64 --data coco.yaml --weights yolov5s.pt --device 0", place)
        run_together(tmp_path, (first, {}))
    (stdout,) = run_together(tmp_path, (words, {}))
    if "val.py" in command:
        assert any(tmp_path.glob("runs/val/*/metrics.json"))
    elif "check" in words or "profile" in words:
        assert "processes" in stdout
    else:
        assert has_result(tmp_path)
        is_alone = "1gpu" in command or command.endswith("--device 0")
        assert ("2 processes on cpu" in stdout) == (not is_alone)


@pytest.mark.slow
@pytest.mark.parametrize("command", FIRST_OF_PAIR, ids=str)
def test_commands_of_two_machines_run_together(command: str, tmp_path: Path, place: Place) -> None:
    words = cpu_form(command, place)
    rank = next(i for i, word in enumerate(words) if OF_A_MACHINE.match(f"{word} 0"))
    second = [*words[: rank + 1], "1", *words[rank + 2 :]]
    twin = command.replace(OF_A_MACHINE.search(command)[0], f"--{OF_A_MACHINE.search(command)[1]} 1")  # pyright: ignore
    assert twin in SHOWN, "the document shows the other machine's command too"
    stdout, other = run_together(tmp_path, (words, {}), (second, {}))
    assert "on 2 machines" in stdout
    assert "check" in words or (has_result(tmp_path) and "Results in" not in other)


CHECK = next(line[line.index("accel-yolo") :] for line in SBATCH.read_text().splitlines() if line.startswith("srun "))
ON_EACH_NODE = [command for command in ALL if command.startswith("srun ")]


@pytest.mark.slow
def test_the_check_of_the_slurm_file_runs(tmp_path: Path, place: Place) -> None:
    words = cpu_form(CHECK, place)
    tasks = [
        {
            "SLURM_JOB_ID": str(place.port), "SLURM_PROCID": str(task), "SLURM_LOCALID": str(task), "SLURM_NODEID": "0",
            "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_STEP_NUM_NODES": "1",
            "SLURM_STEP_NODELIST": "localhost",
        }
        for task in (0, 1)
    ]  # fmt: skip
    stdout, _ = run_together(tmp_path, *((words, variables) for variables in tasks))
    assert "2 processes on" in stdout


@pytest.mark.slow
@pytest.mark.parametrize("line", ON_EACH_NODE, ids=str)
def test_a_launcher_on_each_node_of_slurm_runs(line: str, tmp_path: Path, place: Place) -> None:
    inner = re.search(r"bash -c '(.*)'", line)
    assert inner is not None
    # One task on each of two nodes: SLURM's variables must not be taken for the processes of the run.
    nodes = []
    for node in (0, 1):
        names = {"$SLURM_NNODES": "2", "$SLURM_NODEID": str(node), "$MASTER_ADDR": place.address}
        command = inner[1]
        for name, value in names.items():
            command = command.replace(name, value)
        step = {"SLURM_JOB_ID": "7", "SLURM_PROCID": str(node), "SLURM_LOCALID": "0", "SLURM_NODEID": str(node),
                "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_STEP_NUM_NODES": "2",
                "SLURM_STEP_NODELIST": "node[1-2]"}  # fmt: skip
        nodes.append((cpu_form(command, place), step))
    stdout, _ = run_together(tmp_path, *nodes)
    assert "processes on 2 machines" in stdout and has_result(tmp_path)


@pytest.mark.slow
def test_the_pods_of_the_kubernetes_file_run(tmp_path: Path, place: Place) -> None:
    job = yaml.safe_load((DOCS / "kubernetes" / "pytorchjob.yaml").read_text())
    replicas = job["spec"]["pytorchReplicaSpecs"]
    (command,) = {
        " ".join(container["command"])
        for role in ("Master", "Worker")
        for container in replicas[role]["template"]["spec"]["containers"]
    }
    # The guide also shows the command of pods with several GPUs.
    (block,) = (block for block in BLOCKS if block.page == MULTI_MACHINE and block.kind == "yaml")
    in_each = yaml.safe_load(block.text)["command"]
    assert in_each[:2] == ["bash", "-c"]
    for text, processes in ((command, 2), (in_each[2], 4)):
        pods = [
            {"RANK": str(pod), "WORLD_SIZE": "2", "MASTER_ADDR": place.address, "MASTER_PORT": str(place.port)}
            for pod in (0, 1)
        ]
        started = [(cpu_form(_filled(text, variables), place), variables) for variables in pods]
        stdout, _ = run_together(tmp_path, *started)
        assert f"{processes} processes on 2 machines" in stdout and has_result(tmp_path)


def _filled(text: str, variables: dict[str, str]) -> str:
    """Return a command with the variables that a shell would put in, its run folder in the working folder."""
    for name, value in variables.items():
        text = text.replace(f"${name}", value)
    return text.replace("--project /runs", "--project runs/train")
