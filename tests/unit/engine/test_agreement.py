"""What a foreign launcher decided and what the flags say."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from accel_yolo.config.flags import parse
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.engine import agreement, device
from accel_yolo.engine.agreement import require_agreement
from accel_yolo.engine.launched import Launched
from accel_yolo.errors import ConfigError

TORCHRUN = Launched(0, 4, 0, 2, 0, 2, "torchrun")


def agree(words: str, launched: Launched = TORCHRUN) -> None:
    parsed = parse("train", shlex.split(words))
    require_agreement(launched, LaunchConfig(**parsed.launch), parsed.values.get("device", ""), parsed.launch)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--device 0,1",
        "--device 2,3",
        "--device cpu",
        "--processes 2 --machines 2 --machine-rank 0",
        "--local_rank 1",
    ],
)
def test_what_the_launcher_says_too_is_accepted(words: str) -> None:
    agree(words)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--device 0,1,2", "--device names 3 devices but torchrun started 2 processes on this machine"),
        ("--device 0", "--device names 1 device but torchrun started 2 processes on this machine"),
        ("--processes 3", "two launchers at once in --processes: 3; torchrun says 2"),
        ("--machines 3", "two launchers at once in --machines: 3; torchrun says 2"),
        ("--machine-rank 1", "two launchers at once in --machine-rank: 1; torchrun says"),
        ("--max-restarts 2", "only our own launcher starts a run again in --max-restarts: 2; leave the flag out: "),
        ("--config-file 2cpu", "two launchers at once in --config-file: 2cpu; torchrun has already started"),
    ],
)
def test_a_second_answer_is_refused(words: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        agree(words)
    assert says in str(raised.value)


def test_our_own_processes_read_the_words_of_their_launcher_again() -> None:
    agree("--processes 2 --device 2,3 --config-file 2cpu", Launched(1, 2, 1, 2, 0, 1, "accel-yolo"))


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four GPUs, as far as is asked before CUDA starts."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def launched_as(monkeypatch: pytest.MonkeyPatch, launched: Launched) -> None:
    monkeypatch.setattr(device, "adopt_launch", lambda: launched)


@pytest.mark.usefixtures("gpus")
def test_exactly_the_named_gpus_become_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    launched_as(monkeypatch, Launched(0, 2, 0, 2, 0, 1, "torchrun"))
    assert device.choose_device("2,3") is False
    assert device.os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert device.choose_device("2,3") is False, "already so"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    device.choose_device("2,3")
    assert device.os.environ["CUDA_VISIBLE_DEVICES"] == "6,7"


@pytest.mark.usefixtures("gpus")
def test_gpus_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    launched_as(monkeypatch, Launched(0, 2, 0, 2, 0, 1, "torchrun"))
    with pytest.raises(ConfigError, match="no such CUDA device in --device: 3,4; 4 found, counted from 0"):
        device.choose_device("3,4")
    launched_as(monkeypatch, Launched(0, 5, 0, 5, 0, 1, "torchrun"))
    with pytest.raises(ConfigError, match="more processes than GPUs in what torchrun started: 5; 4 found"):
        device.choose_device("")


@pytest.mark.usefixtures("gpus")
def test_a_scheduler_may_show_each_process_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    launched_as(monkeypatch, Launched(1, 2, 1, 2, 0, 1, "slurm"))
    assert device.choose_device("") is False
    launched_as(monkeypatch, Launched(1, 2, 1, 2, 0, 1, "torchrun"))
    with pytest.raises(ConfigError, match="more processes than GPUs"):
        device.choose_device("")


@pytest.mark.usefixtures("gpus")
def test_use_cpu_of_the_file_counts_on_a_machine_with_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    launched_as(monkeypatch, Launched(0, 2, 0, 2, 0, 1, "accelerate"))
    monkeypatch.setattr(agreement, "_words_of_accelerate", lambda: ["accelerate", "launch", "--config_file", "2cpu"])
    assert device.choose_device("") is True
    with pytest.raises(ConfigError, match="the accelerate config says use_cpu in --device: 0,1"):
        device.choose_device("0,1")
    monkeypatch.setattr(agreement, "_words_of_accelerate", lambda: ["accelerate", "launch", "--config_file=2gpu"])
    assert device.choose_device("") is False


def test_a_file_for_gpus_is_refused_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    launched_as(monkeypatch, Launched(0, 2, 0, 2, 0, 1, "accelerate"))
    monkeypatch.setattr(agreement, "_words_of_accelerate", lambda: ["accelerate", "launch", "--config_file", "2gpu"])
    with pytest.raises(ConfigError, match=r"2gpu\.yaml asks for GPUs and this machine has none; use 2cpu\.yaml or"):
        device.choose_device("")
    assert device.choose_device("cpu") is True


def test_an_unknown_file_means_the_cpu_and_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    monkeypatch.setattr(agreement, "_words_of_accelerate", list)
    launched_as(monkeypatch, Launched(0, 2, 0, 2, 0, 1, "accelerate"))
    assert device.choose_device("") is True
    assert capsys.readouterr().err.count("note: no GPU here, and the accelerate config is not known") == 1


def test_the_file_is_found_on_the_command_line_of_the_launcher(tmp_path: Path) -> None:
    """Accelerate does not tell its processes; an ancestor that was called like it does."""
    script = tmp_path / "accelerate"
    child = (
        "from accel_yolo.engine.agreement import *; print(accelerate_file(Launched(0,2,0,2,0,1,'accelerate')).label)"
    )
    script.write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}], check=True)\n")
    command = [sys.executable, str(script), "launch", "--config_file", "2x1cpu.yaml", "train.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "accelerate_configs/2x1cpu.yaml"
