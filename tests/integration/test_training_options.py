"""Every training option of this version starts, trains and does what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import interrupted_run, tiny_config

from accel_yolo import console
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.config.val_schema import ValConfig
from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.checkpoint_reading import read
from accel_yolo.engine.train import train
from accel_yolo.engine.trainable import Trainable
from accel_yolo.engine.validate import validate
from accel_yolo.errors import EnvironmentFault
from accel_yolo.models.weights import load_weights


def trained(config: TrainConfig) -> dict[str, Any]:
    console.quiet()
    return train(config, {}).to_json()


@pytest.fixture
def run(run_processes: Callable, sparse_data: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that trains one process with changed settings in tmp_path/exp and returns the final state."""
    return lambda **changes: run_processes(1, trained, tiny_config(sparse_data, tmp_path, **changes))[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"rect": True},
        {"multi_scale": True},
        {"cos_lr": True, "label_smoothing": 0.1, "optimizer": "Adam"},
        {"single_cls": True},
        {"hyp": Hyp(mosaic=1.0, mixup=1.0, degrees=5, shear=2, perspective=1e-4, flipud=0.5, fl_gamma=1.5)},
        {"cfg": "yolov5n6.yaml", "imgsz": 128},
        {"hyp": Hyp(anchors=2.0), "noautoanchor": False},
        {"precision": "bf16"},
        {"bn_group": 4},
        {"workers": 2},
        {"quad": True, "rect": True, "bn_group": 4},
        {"quad": True, "multi_scale": True, "micro_batch": 4},
        {"close_mosaic": 1, "class_balanced": 0.5},
        {"freeze": ("backbone", "*.bn")},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_an_option_trains_an_epoch(run: Callable, tmp_path: Path, changes: dict[str, Any]) -> None:
    state = run(**changes)
    assert state["epoch"] == 1 and state["updates"] == 4 and state["skips"] == 0
    for name in ("last", "best"):
        assert (tmp_path / "exp" / "weights" / f"{name}.safetensors").is_file()


def test_single_cls_gives_one_class(run: Callable, tmp_path: Path) -> None:
    run(single_cls=True)
    assert load_weights(tmp_path / "exp" / "weights" / "best.safetensors").meta.names == {0: "item"}


def test_anchors_from_hyp_are_fitted_to_the_data(run: Callable, tmp_path: Path) -> None:
    run(hyp=Hyp(anchors=2.0), noautoanchor=False)
    anchors = load_weights(tmp_path / "exp" / "weights" / "best.safetensors").meta.anchors_px
    assert [len(level) for level in anchors] == [2, 2, 2]
    assert anchors[0][0] != [0.0, 1.0]


def test_frozen_layers_do_not_move(run: Callable, tmp_path: Path) -> None:
    run(freeze=(3,), seed=1)
    newest = CheckpointFolder(tmp_path / "exp" / "checkpoints").newest_valid()
    assert newest is not None
    names = {name.split("/")[0] for name in read(newest)[0]["optimizer"]}
    assert not {name for name in names if name.split(".")[1] in ("0", "1", "2")}
    assert {name for name in names if name.split(".")[1] == "3"}


def test_nosave_and_noval_still_end_with_weights_and_metrics(run: Callable, tmp_path: Path) -> None:
    run(nosave=True, noval=True, epochs=2)
    folder = tmp_path / "exp"
    assert sorted(path.name for path in (folder / "weights").iterdir()) == ["best.safetensors", "last.safetensors"]
    rows = (folder / "results.csv").read_text().splitlines()
    assert "nan" in rows[1] and "nan" not in rows[2]
    assert json.loads((folder / "metrics.json").read_text())["images"] == 9


def test_a_run_without_saves_that_stops_for_want_of_patience_keeps_its_end(run: Callable, tmp_path: Path) -> None:
    state = run(nosave=True, epochs=9, patience=1, hyp=Hyp(lr0=1e-12, warmup_epochs=0, mosaic=0.0))
    assert state["stopped"]
    newest = CheckpointFolder(tmp_path / "exp" / "checkpoints").newest_valid()
    assert newest is not None and read(newest)[1]["train"]["stopped"]


@pytest.mark.parametrize(
    "how",
    ["straight", *(pytest.param(how, marks=pytest.mark.slow) for how in ("nosave", "resumed after the best epoch"))],
)
def test_the_metrics_of_a_run_are_those_of_its_best_weights(
    run_processes: Callable, sparse_data: Path, tmp_path: Path, how: str
) -> None:
    config = tiny_config(sparse_data, tmp_path, epochs=3, hyp=Hyp(lr0=0.02, warmup_epochs=0), nosave=how == "nosave")
    folder = tmp_path / "exp"
    if how.startswith("resumed"):
        run_processes(1, interrupted_run, config, 2)
        config = replace(config, resume=str(folder))
    run_processes(1, trained, config)
    rows = [row.split(",") for row in (folder / "results.csv").read_text().splitlines()[1:]]
    map50_95 = [float(row[7]) for row in rows]
    # The best epoch is not the last, so that mixing them up shows.
    assert map50_95.index(max(map50_95)) < 2 and map50_95[2] != max(map50_95)
    weights = str(folder / "weights" / "best.safetensors")
    again = run_processes(1, validate, ValConfig(weights=(weights,), data=str(sparse_data), imgsz=64, device="cpu",
                          batch=2 * config.batch, project=str(tmp_path), name="val"))[0]  # fmt: skip
    kept = json.loads((folder / "metrics.json").read_text())
    for metrics in (kept, again):
        metrics.pop("speed_ms")
        metrics.pop("losses", None)
    assert kept == again


def test_save_period_keeps_weights_of_epochs(run: Callable, tmp_path: Path) -> None:
    run(save_period=2, epochs=3)
    names = {path.name for path in (tmp_path / "exp" / "weights").iterdir()}
    assert {"epoch0.safetensors", "epoch2.safetensors"} <= names
    assert "epoch1.safetensors" not in names


def test_patience_stops_a_run_that_does_not_improve(run: Callable) -> None:
    state = run(epochs=9, patience=1, hyp=Hyp(lr0=1e-12, warmup_epochs=0, mosaic=0.0))
    assert state["stopped"] and state["epoch"] < 9


def test_a_gradient_that_is_not_finite_changes_nothing_and_is_counted(run: Callable, tmp_path: Path) -> None:
    before = run(hyp=Hyp(box=1e30, obj=1e38, cls=1e38, warmup_epochs=0, mosaic=0.0), name="bad")
    assert before["skips"] == 4 and before["updates"] == 0


def test_bf16_weights_are_saved_as_float32(run: Callable, tmp_path: Path) -> None:
    run(precision="bf16")
    state = load_weights(tmp_path / "exp" / "weights" / "last.safetensors").state
    assert {str(value.dtype) for value in state.values()} == {"torch.float32", "torch.int64"}


def out_of_memory(config: TrainConfig) -> str:
    console.quiet()

    def forward(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free")

    Trainable.forward = forward  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(EnvironmentFault) as raised:
        train(config, {})
    return str(raised.value)


def test_running_out_of_memory_names_batch_and_size_and_what_to_change(
    run_processes: Callable, sparse_data: Path, tmp_path: Path
) -> None:
    (line,) = run_processes(1, out_of_memory, tiny_config(sparse_data, tmp_path))
    assert "--batch 8" in line and "--imgsz 64" in line and "try --batch 4" in line
    assert "Tried to allocate" not in line, "one line, not the allocator's report"
