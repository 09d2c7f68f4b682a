"""Pictures of training batches: what the loop trained on, the same on any number of processes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from jobs import tiny_config

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.data.index import build_index
from accel_yolo.data.loader import TrainLoader
from accel_yolo.data.order import steps_per_epoch
from accel_yolo.engine.gallery import shown_batches
from accel_yolo.engine.loaders import host_samples, plan_source
from accel_yolo.engine.train import train
from accel_yolo.inference.output.batch_sheet import sample_of, train_sheet
from accel_yolo.inference.output.encoding import encoded
from accel_yolo.inference.output.run_pictures import TRAIN_BATCHES
from accel_yolo.reports.figures import JPEG_QUALITY

TINTED = """
import torch

def tint(image, target, generator):
    weights = torch.rand(3, 1, 1, generator=generator)
    return (image * weights).to(torch.uint8), target
"""
CASES: dict[str, dict[str, Any]] = {
    "mosaic": {"hyp": Hyp(mosaic=0.7, mixup=0.5, copy_paste=0.5, degrees=10, warmup_epochs=0)},
    "quad": {"quad": True, "hyp": Hyp(mosaic=0.5)},
    "rect": {"rect": True, "hyp": Hyp(mosaic=0.0)},
    "augment_with": {"augment_with": "tinted:tint"},
    "image_weights": {"image_weights": True},
}


def digest(image: np.ndarray, labels: np.ndarray) -> str:
    return hashlib.sha256(image.tobytes() + np.ascontiguousarray(labels, np.float32).tobytes()).hexdigest()


def trained(config: TrainConfig, folder: str) -> dict[int, str]:
    """Train and return what the loop of this process was given in the first epoch: position -> digest."""
    os.chdir(folder)
    seen: dict[int, str] = {}
    original = TrainLoader.epoch

    def epoch(loader: TrainLoader, number: int, class_ap: tuple[float, ...] = (), first: int = 0) -> Any:
        for batch in original(loader, number, class_ap, first):
            for place, position in enumerate(batch.positions):
                labels = batch.targets[batch.targets[:, 0] == place, 1:]
                seen[position] = digest(batch.images[place].numpy(), labels)
            yield batch

    TrainLoader.epoch = epoch
    train(config, {})
    return seen


@pytest.mark.parametrize(
    "case", [case if case in ("mosaic", "quad") else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_pictures_show_the_pixels_and_labels_of_the_loop(
    case: str, sparse_data: Path, tmp_path: Path, run_processes: Callable[..., list[Any]], monkeypatch: Any
) -> None:
    (tmp_path / "tinted.py").write_text(TINTED)
    config = tiny_config(sparse_data, tmp_path, noplots=False, **CASES[case])
    (given,) = run_processes(1, trained, config, str(tmp_path))

    monkeypatch.chdir(tmp_path)
    index = build_index(load_data_spec(sparse_data), "train", single_cls=False, bad_data="fail", workers=1)
    source = plan_source(config, index, 32, 3)
    samples, steps = host_samples(config, index, source, 3), steps_per_epoch(len(index), config.batch)
    batches = shown_batches(config, steps)
    assert [len(keys) for keys in batches] == [config.batch // config.unit] * 3
    for name, keys in zip(TRAIN_BATCHES, batches, strict=True):
        for key in keys:
            assert digest(*sample_of(samples, key)) == given[key.position]
        sheet = train_sheet(samples, keys, {0: "a", 1: "b", 2: "c"})
        assert (tmp_path / "exp" / name).read_bytes() == encoded(sheet, ".jpg", JPEG_QUALITY)


@pytest.mark.slow
def test_pictures_are_the_same_to_the_byte_on_two_processes(
    sparse_data: Path, tmp_path: Path, run_processes: Callable[..., list[Any]]
) -> None:
    found = []
    for processes in (1, 2):
        config = tiny_config(sparse_data, tmp_path / str(processes), noplots=False, **CASES["mosaic"])
        run_processes(processes, trained, config, str(tmp_path))
        folder = tmp_path / str(processes) / "exp"
        names = (*TRAIN_BATCHES, "labels.jpg", "labels_correlogram.jpg", "val_batch0_labels.jpg")
        found.append({name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names})
        assert cv2.imread(str(folder / "val_batch0_pred.jpg")) is not None
        assert not list(folder.glob("*.tmp*")) and not list(folder.glob(".tmp*"))
    assert found[0] == found[1]
