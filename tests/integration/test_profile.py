"""The `profile` command as it is typed: three files with the table of this machine; and that it measures real steps."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from commands import Commands
from jobs import digest, tiny_config, watched_training

from accel_yolo import console
from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data.index import build_index
from accel_yolo.data.subsets import some_images
from accel_yolo.engine.build import open_data
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.stepping import Stepper, difference
from accel_yolo.engine.tuning import tuning_of
from accel_yolo.engine.world import World
from accel_yolo.reports.scaling_table import COLUMNS, CSV_COLUMNS
from accel_yolo.reports.step_parts import PART_COLUMNS

QUICK = ("--device", "cpu", "--cfg", "yolov5n", "--imgsz", "64", "--batch-per-process", "2", "--steps", "2")


@pytest.mark.slow
def test_one_and_two_processes_are_measured_explained_and_extrapolated(commands: Commands, sparse_data: Path) -> None:
    words = (*QUICK, "--workers", "1", "--data", sparse_data, "--project", commands.project)
    outcome = commands("profile", "--processes", "2,1", *words, "--images", "260").succeeded()
    folder = commands.project / "exp"
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["scaling.csv", "scaling.md", "scaling.png"]
    rows = list(csv.DictReader((folder / "scaling.csv").read_text().splitlines()))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [(row["devices"], row["kind"]) for row in rows[:3]] == [
        ("1", "measured"), ("2", "measured"), ("8", "predicted"),
    ]  # fmt: skip
    for row in rows:
        shares = [float(row[f"{part}_percent"]) for part in ("data", "compute", "communication", "serial")]
        assert sum(shares) == pytest.approx(100, abs=1e-6) and min(shares) >= 0
        assert float(row["images_per_s"]) > 0 and float(row["scaled_by"]) == 10
    one, two = rows[:2]
    assert float(one["communication_percent"]) == 0 < float(two["allreduce_s"]) < float(two["step_s"])
    assert one["prediction_error_percent"] == "" != two["prediction_error_percent"]
    assert float(two["memory_max_bytes"]) == pytest.approx(float(two["memory_min_bytes"]), rel=0.01)
    assert float(two["traffic_bytes"]) > 4 * 1_700_000
    text = (folder / "scaling.md").read_text()
    assert all(f" {column} |" in text for column in COLUMNS)
    assert "training scaled by 10: from 26 to 260 images" in text and "At 64 devices" in text
    assert "At 64 devices" in outcome.out and "8 (predicted)" in outcome.out
    assert all(f" {column} |" in text for column in PART_COLUMNS)
    assert all(column in outcome.out for column in PART_COLUMNS)
    assert "\n- " in text, "no advice"
    assert cv2.imread(str(folder / "scaling.png")) is not None


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--processes", "0"), ("--processes", "0")),
        (("--processes", "1,-2"), ("--processes", "-2")),
        (("--processes", "two"), ("--processes", "two")),
        (("--processes", "1.5"), ("--processes", "1.5")),
        (("--steps", "1"), ("--steps", "1")),
        (("--batch-per-process", "0"), ("--batch-per-process", "0")),
        (("--device", "97", "--processes", "1"), ("no such CUDA device", "97", "--device cpu")),
        (("--device", "cpu", "--precision", "fp16"), ("fp16 does not work on a CPU", "--precision")),
        (("--device", "mps", "--processes", "2"), ("mps is one device", "--processes", "2")),
        (("--sync-bn", "--bn-group", "2"), ("two kinds of BatchNorm", "--sync-bn and --bn-group")),
        (("--cfg", "yolov5q"), ("--cfg", "yolov5q")),
        (("--data", "cocoa128"), ("--data", "cocoa128")),
    ],
)
def test_wrong_use_is_one_line_before_anything_is_started(
    commands: Commands, words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    start = () if "--device" in words else ("--device", "cpu")
    code = 3 if "--data" in words else 2
    commands("profile", *start, *words, "--project", commands.project).error(code, *parts)
    assert not commands.project.exists()


@pytest.mark.parametrize("device", [(), ("--device", "0")])
def test_more_processes_than_gpus_are_refused(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, device: tuple[str, ...]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # so that machines without one are tested as well
    words = (*device, "--processes", "1,2", "--project", commands.project)
    commands("profile", *words).error(2, "more processes than GPUs (1)", "--processes: 2", "--device cpu")
    assert not commands.project.exists()


def test_a_failure_while_measuring_is_said_once_and_leaves_no_folder(commands: Commands, data: Path) -> None:
    for image in (data.parent / "images").iterdir():
        image.unlink()
    commands.guarded.clear()
    words = (*QUICK, "--processes", "1", "--data", data, "--project", commands.project)
    commands("profile", *words).error(3, "no images")
    assert list(commands.project.iterdir()) == []


def trained_by_the_loop(data: Path, project: Path) -> str:
    result = watched_training(tiny_config(data, project, batch=2, nominal_batch=2), double=False)
    return digest({name: torch.from_numpy(value) for name, value in result["averaged"].items()})


def trained_by_the_profile(data: Path, project: Path) -> str:
    world = World.start("cpu")
    console.quiet()
    config = tiny_config(data, project, batch=2, nominal_batch=2)
    stepper = Stepper(config, open_data(config, world), world, steps=2, most_val_images=4)
    for batch in stepper.batches.steps(TrainState()):
        stepper.step(batch, exchange=True)
    return digest(stepper.training.ema.detector.state_dict())


@pytest.mark.slow
def test_the_step_that_is_timed_is_the_step_of_the_training_loop(
    run_processes: Callable[..., list[Any]], sparse_data: Path, tmp_path: Path
) -> None:
    by_loop = run_processes(2, trained_by_the_loop, sparse_data, tmp_path / "loop")
    assert run_processes(2, trained_by_the_profile, sparse_data, tmp_path / "profile") == by_loop


def test_the_parts_of_a_step_are_measured_and_add_up_to_the_step(sparse_data: Path, tmp_path: Path) -> None:
    world = World.start("cpu")
    with console.quiet_unless(False):
        config = tiny_config(sparse_data, tmp_path, batch=2, nominal_batch=2)
        stepper = Stepper(config, open_data(config, world), world, steps=2, most_val_images=4)
        stepper.times()
        tuning = tuning_of(stepper, val_s=1.0, val_images=2 * len(stepper.val_loader.index))
    parts = tuning.parts
    assert min(parts.data_s, parts.forward_s, parts.backward_s, parts.update_s, parts.other_s) > 0
    assert parts.backward_s < parts.total_s
    assert tuning.sample_s > 0 and tuning.val_s == 2.0
    assert (tuning.device, tuning.workers, tuning.batch_per_process, tuning.settings) == ("cpu", 0, 2, ())
    assert (tuning.kernel_share, tuning.used_bytes, tuning.device_bytes) == (0, 0, 0)  # of a GPU only


def test_images_taken_from_an_index_keep_their_labels_and_outlines(sparse_data: Path) -> None:
    spec = load_data_spec(str(sparse_data))
    index = build_index(spec, "train", single_cls=False, bad_data="limit", workers=0)
    order = np.array([4, 0, 4, 3, 8])
    part = some_images(index, order)
    assert part.paths == tuple(index.paths[image] for image in order)
    for place, image in enumerate(order):
        assert np.array_equal(part.labels_of(place), index.labels_of(image))
        assert part.sizes_hw[place].tolist() == index.sizes_hw[image].tolist()
        for mine, theirs in zip(part.polygons_of(place), index.polygons_of(image), strict=True):
            assert np.array_equal(mine, theirs)
    assert len(part.labels) > 0 and len(part.polygons) > 0


def test_a_difference_is_that_of_neighbours_and_says_how_sure_it_is() -> None:
    # The machine slows down by half on the way; each pair still differs by 0.1.
    steady = np.array([[1.0, 0.9], [1.0, 0.9], [1.5, 1.4], [1.5, 1.4], [1.5, 1.4]])
    assert difference(steady) == pytest.approx((1.5, 1.4, 0.0))
    noise = np.random.default_rng(0).normal(0, 0.01, (400, 2))
    first, second, scatter = difference(np.array([[1.0, 0.9]]) + noise)
    # Two independent errors of 0.01, and the median of 400 of them.
    assert scatter == pytest.approx(1.2533 * 0.01 * 2**0.5 / 20, rel=0.2)
    assert first - second == pytest.approx(0.1, abs=3 * scatter)
