"""What flags and an Accelerate YAML ask our own launcher to start."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from starting import wizard_file

from accel_yolo.config.accelerate_command import accelerate_command
from accel_yolo.config.flags import parse
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.config.launching import LaunchPlan, plan_launch
from accel_yolo.config.shipped import shipped_names
from accel_yolo.errors import ConfigError

SEVERAL = "--machines 2 --main-process-ip 10.0.0.1 --main-process-port 29500"


@pytest.fixture(autouse=True)
def _all_gpus_visible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.chdir(tmp_path)


def planned(text: str) -> LaunchPlan | None:
    """Return the plan for what a user types after `train.py`."""
    parsed = parse("train", shlex.split(text))
    return plan_launch(LaunchConfig(**parsed.launch), parsed.values.get("device", ""), parsed.launch)


def plan(text: str) -> LaunchPlan:
    made = planned(text)
    assert made is not None
    return made


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        planned(text)
    assert raised.value.exit_code == 2
    return str(raised.value)


def write(text: str) -> str:
    Path("mine.yaml").write_text(text)
    return "--config-file mine.yaml"


@pytest.mark.parametrize("device", ["", "--device cpu", "--device 0", "--device cuda:1", "--device mps"])
def test_one_device_needs_no_launcher(device: str) -> None:
    assert planned(device) is None
    assert planned(f"{device} --machines 1 --collective-timeout 60 --local_rank 0") is None


def test_each_named_gpu_gets_a_process() -> None:
    made = plan("--device 0,1")
    assert (made.processes, made.machines, made.gpu_ids, made.use_cpu) == (2, 1, ("0", "1"), False)
    assert plan("--device 2,3").gpu_ids == ("2", "3")
    assert plan("--device cuda:2,3 --processes 2").gpu_indices == (2, 3)


def test_gpus_are_counted_among_the_visible_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 5,GPU-7f3a")
    assert plan("--device 0,2").gpu_ids == ("4", "GPU-7f3a")
    line = refusal("--device 2,3")
    assert line == "no such CUDA device in --device: 2,3; CUDA_VISIBLE_DEVICES=4, 5,GPU-7f3a leaves 3, counted from 0"


def test_processes_share_the_cpu_or_take_a_gpu_each() -> None:
    assert plan("--processes 3 --device cpu").use_cpu is True
    assert plan("--processes 3").use_cpu is None, "decided where the GPUs can be counted"
    assert plan("--processes 3 --device cuda").use_cpu is False
    assert plan("--nproc_per_node 3 --device cpu").total == 3


def test_one_process_is_this_process() -> None:
    assert plan("--processes 1 --device cpu").is_alone
    assert plan("--config_file cpu").is_alone
    assert not plan(f"{SEVERAL} --device cpu").is_alone


def test_several_machines() -> None:
    made = plan(f"{SEVERAL} --machine_rank 1 --processes 4 --device cpu --interface eth1 --connect-timeout 9")
    assert (made.total, made.processes, made.machine_rank) == (8, 4, 1)
    assert (made.main_process_ip, made.main_process_port) == ("10.0.0.1", 29500)
    assert made.connect_timeout == 9
    assert plan("--nnodes 2 --node_rank 1 --master_addr a --master_port 1 --nproc_per_node 2").total == 4


@pytest.mark.parametrize("name", shipped_names("accelerate"))
def test_every_shipped_file_is_read_by_bare_name(name: str) -> None:
    made = plan(f"--config-file {name}")
    assert made == plan(f"--config-file {name}.yaml") == plan(f"--config-file accelerate_configs/{name}.yaml")
    machines, _, rest = name.rpartition("x")
    processes = rest.rstrip("cgpu")
    assert made.machines == int(machines or 1)
    assert made.processes == int(processes if processes.isdecimal() else 1)
    assert made.use_cpu is (True if "cpu" in name else False if "gpu" in name else None)
    assert made.mixed_precision == (name if name in ("fp16", "bf16") else "no")


def test_num_processes_counts_all_machines() -> None:
    made = plan("--config-file 2x8gpu --machine-rank 1 --main-process-ip 10.9.9.9")
    assert (made.total, made.processes, made.machine_rank, made.main_process_ip) == (16, 8, 1, "10.9.9.9")
    assert made.main_process_port == 29500


def test_a_typed_zero_wins_over_the_file() -> None:
    text = Path(os.fspath(plan("--config-file 2x1cpu").config_file)).read_text()
    flag = write(text.replace("machine_rank: 0", "machine_rank: 1"))
    assert plan(flag).machine_rank == 1
    assert plan(f"{flag} --machine-rank 0").machine_rank == 0


def test_the_cpu_can_be_chosen_over_a_file_for_gpus() -> None:
    made = plan("--config-file 2gpu --device cpu")
    assert (made.processes, made.use_cpu, made.gpu_ids) == (2, True, ())


WIZARD = wizard_file(gpu_ids="2,3", mixed_precision="bf16", use_cpu="false")


def test_the_wizards_file_for_gpus_works() -> None:
    made = plan(write(WIZARD))
    assert (made.processes, made.gpu_ids, made.use_cpu, made.mixed_precision) == (2, ("2", "3"), False, "bf16")
    assert plan(write(WIZARD.replace("2,3", "all"))).gpu_ids == ()
    assert plan(write(WIZARD) + " --device 0,1").gpu_ids == ("0", "1"), "the flag wins"


def test_the_wizards_file_for_cpus_says_what_to_use_instead() -> None:
    line = refusal(write(WIZARD.replace("MULTI_GPU", "MULTI_CPU").replace("use_cpu: false", "use_cpu: true")))
    assert "mine.yaml:3" in line and "MULTI_CPU; use accelerate_configs/2cpu.yaml" in line


def test_accelerates_default_file_is_json_and_works() -> None:
    content = '{"compute_environment": "LOCAL_MACHINE", "distributed_type": "NO", "num_processes": 1, "use_cpu": true}'
    assert plan(write(content)).use_cpu is True


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--config-file 3gpu", "no such accelerate config file in --config-file: 3gpu; did you mean"),
        ("--config-file nowhere", "(1gpu, 2cpu, 2gpu, 2x1cpu, 2x2cpu, 2x8gpu, 4cpu, 4gpu, 8gpu, bf16, cpu, fp16, mps)"),
        ("--config-file 2cpu --processes 3", "accelerate_configs/2cpu.yaml and --processes: 2 and 3"),
        ("--processes 3 --device 0,1", "--processes and --device 0,1: 3 and 2; leave one of them out"),
        ("--processes 2 --device 0", "--processes and --device 0: 2 and 1"),
        ("--config-file 2gpu --device 0,1,2", "accelerate_configs/2gpu.yaml and --device 0,1,2: 2 and 3"),
        ("--config-file 2cpu --device 0,1", "accelerate_configs/2cpu.yaml says use_cpu in --device: 0,1"),
        ("--device 1,1", "a GPU is named twice in --device: 1,1"),
        ("--processes 2 --device mps", "mps is one device"),
        ("--machine-rank 1", "no such machine in --machine-rank: 1; there is one machine, number 0"),
        (f"{SEVERAL} --machine-rank 2", "no such machine in --machine-rank: 2; the 2 machines are numbered 0 to 1"),
        ("--config-file 2x1cpu --machine-rank 5", "no such machine in --machine-rank: 5"),
        ("--machines 2 --main-process-port 1", "no address for 2 machines in --main-process-ip; give the address"),
        ("--machines 2 --main-process-ip a", "no common port for 2 machines in --main-process-port: 0; give one port"),
        ("--config-file 2x1cpu --machines 3", "2 on 3 machines"),
    ],
)
def test_contradictions_are_one_line(words: str, says: str) -> None:
    assert says in refusal(words)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("num_processes: 2\n", "", "missing key in mine.yaml: num_processes"),
        ("num_processes: 2", "num_processes: 0", "wrong value in mine.yaml:11, key 'num_processes': 0"),
        ("num_processes: 2", "num_proceses: 2", "unknown key in mine.yaml:11, key 'num_proceses'; did you mean"),
        ("num_processes: 2", "num_processes: 3", "too few GPUs in mine.yaml, key 'gpu_ids': 2,3; each of the 3"),
        ("distributed_type: MULTI_GPU", "distributed_type: NO", "distributed_type NO starts one process in mine.yaml"),
        ("distributed_type: MULTI_GPU", "distributed_type: FSDP", "give one of NO, MULTI_GPU"),
        ("distributed_type: MULTI_GPU\n", "", "missing key in mine.yaml: distributed_type"),
        ("mixed_precision: bf16", "mixed_precision: fp8", "wrong value in mine.yaml:9, key 'mixed_precision': fp8"),
        ("use_cpu: false", "use_cpu: no", "wrong value in mine.yaml:17, key 'use_cpu': no; give true or false"),
        ("num_machines: 1", "num_machines: 2", "no address for 2 machines"),
        (WIZARD, "", "not an accelerate config in mine.yaml"),
        ("compute_environment: LOCAL_MACHINE", "compute_environment: AMAZON_SAGEMAKER", "give one of LOCAL_MACHINE"),
    ],
)
def test_a_wrong_file_is_one_line_with_the_place(old: str, new: str, says: str) -> None:
    assert says in refusal(write(WIZARD.replace(old, new)))


@pytest.mark.parametrize(
    ("words", "settled_cpu", "command"),
    [
        ("--device 2,3 --epochs 1", False, "--multi_gpu --num_processes 2 --num_machines 1 --gpu_ids 2,3 "
         "--main_process_port 0 -m accel_yolo train --epochs 1"),
        ("--processes 2", False, "--multi_gpu --num_processes 2 --num_machines 1 --main_process_port 0 "
         "-m accel_yolo train"),
        ("--processes=2 --device cpu", True, "--config_file {}/2cpu.yaml -m accel_yolo train --device cpu"),
        ("--processes 3 --device cpu", True, "--config_file {}/2cpu.yaml --num_processes 3 -m accel_yolo train "
         "--device cpu"),
        ("--config_file 2cpu", True, "--config_file {}/2cpu.yaml -m accel_yolo train"),
        (f"{SEVERAL} --machine_rank 1 --device cpu", True, "--config_file {}/2x1cpu.yaml --machine_rank 1 "
         "--main_process_ip 10.0.0.1 --main_process_port 29500 -m accel_yolo train --device cpu"),
    ],
)  # fmt: skip
def test_the_same_can_be_typed_for_accelerate(words: str, settled_cpu: bool, command: str) -> None:
    from dataclasses import replace

    made = replace(plan(words), use_cpu=settled_cpu)
    folder = Path(plan("--config-file cpu").config_file).parent
    assert accelerate_command(made, "train", shlex.split(words)) == f"accelerate launch {command.format(folder)}"


def test_more_processes_than_a_machine_can_hold_are_a_typing_error() -> None:
    with pytest.raises(
        ConfigError, match=r"too many processes for one machine in --processes: 100000; this machine has"
    ):
        plan_launch(LaunchConfig(processes=100_000))
    assert plan_launch(LaunchConfig(processes=64)) is not None
