"""A run that is interrupted after an epoch and resumed ends as the run that was not, bit for bit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs import digest, tiny_config

from accel_yolo import console
from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.checkpoint_reading import read
from accel_yolo.engine.saving import Checkpoints
from accel_yolo.engine.train import train
from accel_yolo.errors import ConfigError, UserError
from accel_yolo.reports.events import ENVIRONMENT, METRICS, read_events, read_sessions

EPOCHS = 3


class _Stopped(Exception):
    pass


def run_training(config: TrainConfig, origins: dict[str, str], stop: tuple[str, int] | None = None) -> str:
    """Train; `stop` = (name of a method of Checkpoints, epoch) ends the run right after it, as a kill would."""
    console.quiet()
    if stop is not None:
        name, epoch = stop
        original = getattr(Checkpoints, name)

        def stopping(checkpoints: Checkpoints, state: Any) -> Any:
            result = original(checkpoints, state)
            if state.epoch == epoch:
                raise _Stopped
            return result

        setattr(Checkpoints, name, stopping)
    try:
        train(config, origins)
    except _Stopped:
        return "stopped"
    except UserError as error:
        return f"{type(error).__name__}: {error}"
    return "finished"


def final_digest(run: Path) -> str:
    """Return one SHA-256 over weights, average and optimizer of the newest checkpoint of a run."""
    newest = CheckpointFolder(run / "checkpoints").newest_valid()
    assert newest is not None
    groups, _ = read(newest)
    return digest({f"{stem}/{name}": value for stem, group in groups.items() for name, value in group.items()})


def settings(data: Path, project: Path, **changes: Any) -> TrainConfig:
    return tiny_config(data, project, epochs=EPOCHS, optimizer="AdamW", patience=50, **changes)


@pytest.fixture(scope="module")
def straight(run_processes: Callable, sparse_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("straight")
    assert run_processes(1, run_training, settings(sparse_data, project), {}) == ["finished"]
    return project / "exp"


@pytest.fixture
def interrupted(run_processes: Callable, sparse_data: Path, tmp_path: Path) -> Callable[[str, int], Path]:
    """Return a function that trains until just after a save and returns the run folder."""

    def run(method: str, epoch: int) -> Path:
        assert run_processes(1, run_training, settings(sparse_data, tmp_path), {}, (method, epoch)) == ["stopped"]
        return tmp_path / "exp"

    return run


@pytest.mark.parametrize(
    ("method", "epoch"),
    [("finish_epoch", 1), ("finish_epoch", 2), ("save", 1)],
    ids=["after-first-epoch", "after-second-epoch", "before-validation-of-second-epoch"],
)
def test_resuming_continues_bit_for_bit(
    run_processes: Callable, interrupted: Callable, straight: Path, method: str, epoch: int
) -> None:
    run = interrupted(method, epoch)
    assert final_digest(run) != final_digest(straight)
    config = TrainConfig(resume=str(run), weights="", cfg="yolov5n")
    assert run_processes(1, run_training, config, {}) == ["finished"]
    assert final_digest(run) == final_digest(straight)
    assert (run / "results.csv").read_text() == (straight / "results.csv").read_text()
    for name in ("last", "best"):
        ours, theirs = (folder / "weights" / f"{name}.safetensors" for folder in (run, straight))
        assert ours.read_bytes() == theirs.read_bytes()
    assert recorded(run) == recorded(straight)
    steps = [session["from_step"] for session in read_sessions(run / ENVIRONMENT)]
    assert steps[0] == 0 and len(steps) == 2 and steps[1] > 0


def recorded(run: Path) -> list[dict[str, Any]]:
    """Return the events of a run without what depends on the clock and the machine."""
    measured = ("time", "seconds", "speed", "memory")
    events = read_events(run / METRICS)
    return [{key: value for key, value in event.items() if key.split("/")[0] not in measured} for event in events]


@pytest.mark.slow
def test_a_resumed_run_keeps_its_precision_and_does_not_need_the_weights_it_started_from(
    run_processes: Callable, sparse_data: Path, straight: Path, tmp_path: Path
) -> None:
    start = tmp_path / "start.safetensors"
    shutil.copy(straight / "weights" / "last.safetensors", start)
    changes: dict[str, Any] = {"precision": "bf16", "weights": str(start), "cfg": "", "epochs": EPOCHS}
    whole, broken = (tiny_config(sparse_data, tmp_path, name=name, **changes) for name in ("whole", "broken"))
    assert run_processes(1, run_training, whole, {}) == ["finished"]
    assert run_processes(1, run_training, broken, {}, ("finish_epoch", 1)) == ["stopped"]
    start.unlink()
    config = TrainConfig(resume=str(tmp_path / "broken"), weights="", cfg="yolov5n")
    assert run_processes(1, run_training, config, {}) == ["finished"]
    assert final_digest(tmp_path / "broken") == final_digest(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_resume_as_two_processes_would_have_gone_on(
    run_processes: Callable, sparse_data: Path, tmp_path: Path
) -> None:
    straight, broken = settings(sparse_data, tmp_path, name="a"), settings(sparse_data, tmp_path, name="b")
    assert run_processes(2, run_training, straight, {}) == ["finished"] * 2
    assert run_processes(2, run_training, broken, {}, ("finish_epoch", 1)) == ["stopped"] * 2
    config = TrainConfig(resume=str(tmp_path / "b"), weights="", cfg="yolov5n")
    assert run_processes(2, run_training, config, {}) == ["finished"] * 2
    assert final_digest(tmp_path / "a") == final_digest(tmp_path / "b")


def test_a_damaged_newest_checkpoint_is_passed_over_for_the_one_before(
    run_processes: Callable, interrupted: Callable, straight: Path
) -> None:
    run = interrupted("finish_epoch", 2)
    newest = CheckpointFolder(run / "checkpoints").newest_valid()
    assert newest is not None
    damaged = bytearray((newest / "ema.safetensors").read_bytes())
    damaged[-1000] ^= 1
    (newest / "ema.safetensors").unlink()  # the older one may share the file
    (newest / "ema.safetensors").write_bytes(damaged)
    older = CheckpointFolder(run / "checkpoints").newest_valid()
    assert older is not None and older != newest
    config = TrainConfig(resume=str(run), weights="", cfg="yolov5n")
    assert run_processes(1, run_training, config, {}) == ["finished"]
    assert final_digest(run) == final_digest(straight)


def test_the_recipe_of_a_resumed_run_cannot_be_changed(run_processes: Callable, interrupted: Callable) -> None:
    run = interrupted("finish_epoch", 1)
    config = TrainConfig(resume=str(run), weights="", cfg="yolov5n", imgsz=96, seed=3, optimizer="AdamW")
    typed = dict.fromkeys(("imgsz", "seed", "optimizer"), "command line")
    (answer,) = run_processes(1, run_training, config, typed)
    assert answer.startswith(ConfigError.__name__)
    assert "cannot change while resuming in --imgsz, --seed: 96, 3; the run has 64, 0: leave the flags out" in answer


def test_resuming_nothing_says_so(run_processes: Callable, tmp_path: Path) -> None:
    config = TrainConfig(resume="auto", weights="", cfg="yolov5n", project=str(tmp_path))
    (answer,) = run_processes(1, run_training, config, {})
    assert "no run to resume" in answer
