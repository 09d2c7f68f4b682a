"""What docs/recipe.md promises of whole trainings: a user's augmentation, weighted orders, frozen parameters."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jobs import tiny_config
from test_resume import final_digest, run_training, settings

from accel_yolo import console
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.engine.build import loss_options
from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.checkpoint_reading import read
from accel_yolo.engine.train import train
from accel_yolo.errors import UserError
from accel_yolo.models.zoo import build_detector, model_spec

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "recipe.md").read_text()


def said(config: TrainConfig, folder: Path) -> tuple[str, list[str]]:
    """Train in a folder and return how it ended, and the lines that were printed."""
    import os

    os.chdir(folder)
    lines: list[str] = []
    console.say = lines.append
    try:
        train(config, {})
    except UserError as error:
        return f"{type(error).__name__}: {error}", lines
    return "finished", lines


@pytest.mark.slow
def test_the_augmentation_of_the_document_trains(run_processes: Callable, sparse_data: Path, tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    (name,) = re.findall(r"--augment-with (\w+:\w+)\n", DOCUMENT)
    (tmp_path / f"{name.partition(':')[0]}.py").write_text(program)
    config = tiny_config(sparse_data, tmp_path / "runs", augment_with=name, workers=1, quad=True)
    ((ended, _),) = run_processes(1, said, config, tmp_path)
    assert ended == "finished"


def test_an_augmentation_that_fails_stops_the_run_with_one_line(
    run_processes: Callable, sparse_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "unlucky.py").write_text("def f(image, target):\n    raise ValueError('not today')\n")
    config = tiny_config(sparse_data, tmp_path / "runs", augment_with="unlucky:f", workers=1)
    ((ended, _),) = run_processes(1, said, config, tmp_path)
    assert re.fullmatch(
        r"ConfigError: the augmentation failed in --augment-with unlucky:f, position \d of epoch 0 \(\S+\.png\): "
        "ValueError: not today",
        ended,
    )


def class_ap_of(run: Path) -> list[float]:
    newest = CheckpointFolder(run / "checkpoints").newest_valid()
    assert newest is not None
    return read(newest)[1]["train"]["class_ap"]


@pytest.mark.slow
def test_a_resumed_run_draws_images_as_the_run_that_was_not_interrupted(
    run_processes: Callable, sparse_data: Path, tmp_path: Path
) -> None:
    def weighted(project: str) -> TrainConfig:
        hyp = Hyp(warmup_epochs=0, lr0=0.02)
        return settings(sparse_data, tmp_path / project, image_weights=True, hyp=hyp)

    assert run_processes(1, run_training, weighted("straight"), {}) == ["finished"]
    assert run_processes(1, run_training, weighted("broken"), {}, ("finish_epoch", 2)) == ["stopped"]
    class_ap = class_ap_of(tmp_path / "broken" / "exp")
    assert len(class_ap) == 3 and len(set(class_ap)) > 1, f"equal AP would not matter: {class_ap}"
    again = replace(weighted("broken"), resume=str(tmp_path / "broken" / "exp"))
    assert run_processes(1, run_training, again, {}) == ["finished"]
    assert final_digest(tmp_path / "broken" / "exp") == final_digest(tmp_path / "straight" / "exp")


@pytest.mark.slow
def test_images_drawn_by_weights_train_alike_on_one_and_two_processes(
    run_processes: Callable, sparse_data: Path, tmp_path: Path
) -> None:
    digests = []
    for size in (1, 2):
        project = tmp_path / str(size)
        exact: dict[str, Any] = {"bit_exact": True, "micro_batch": 4, "bn_group": 4}
        config = tiny_config(sparse_data, project, epochs=3, image_weights=True, quad=True, **exact)
        assert run_processes(size, run_training, config, {}) == ["finished"] * size
        digests.append(final_digest(project / "exp"))
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_the_decay_of_the_average_is_the_one_that_was_asked_for(
    run_processes: Callable, sparse_data: Path, tmp_path: Path
) -> None:
    distances = {}
    for name, changes in {"none": {"ema_decay": 0.0}, "slow": {"ema_tau": 1e-3}, "ramped": {"ema_tau": 1e6}}.items():
        config = tiny_config(sparse_data, tmp_path, name=name, **changes)
        assert run_processes(1, said, config, tmp_path)[0][0] == "finished"
        newest = CheckpointFolder(tmp_path / name / "checkpoints").newest_valid()
        assert newest is not None
        groups, _ = read(newest)
        weight = "model.0.conv.weight"
        distances[name] = float((groups["ema"][weight] - groups["model"][weight]).norm())
    # Without decay the average is the weights; a ramp that has just begun follows them closely, a full decay hardly.
    assert distances["none"] == 0 < distances["ramped"] < distances["slow"] / 10


def test_label_smoothing_and_focal_loss_reach_the_loss() -> None:
    config = TrainConfig(label_smoothing=0.1, hyp=Hyp(fl_gamma=1.5))
    options = loss_options(config, build_detector(model_spec("yolov5n"), {0: "a", 1: "b"}))
    assert (options.label_smoothing, options.fl_gamma) == (0.1, 1.5)


@pytest.mark.slow
def test_how_much_is_frozen_is_said_and_it_does_not_move(
    run_processes: Callable, sparse_data: Path, tmp_path: Path
) -> None:
    config = tiny_config(sparse_data, tmp_path, freeze=("backbone", "*.bn"))
    ((ended, lines),) = run_processes(1, said, config, tmp_path)
    assert ended == "finished"
    (line,) = [line for line in lines if line.startswith("Frozen: ")]
    assert re.fullmatch(r"Frozen: [\d,]+ of 1,[\d,]+ parameters \(--freeze backbone \*\.bn\)", line)
    newest = CheckpointFolder(tmp_path / "exp" / "checkpoints").newest_valid()
    assert newest is not None
    moved = {name.split("/")[0] for name in read(newest)[0]["optimizer"]}
    assert moved and all(int(name.split(".")[1]) > 9 and ".bn." not in name for name in moved)
