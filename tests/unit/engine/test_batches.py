"""Batches on their way to the device: what is counted, and what waiting is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from processes import run_in_processes

from accel_yolo import waypoints
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.data.loader import HostBatch
from accel_yolo.engine.batches import Batches, batch_loss
from accel_yolo.engine.build import loss_options
from accel_yolo.engine.schedule import Schedule
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.world import World
from accel_yolo.errors import PeerError
from accel_yolo.losses.detection import term_means
from accel_yolo.models.zoo import build_detector, model_spec

STEPS, BATCH, SLEEP_S = 3, 4, 0.05


class SlowLoader:
    """A loader that takes its time, and whose batches are computed in two halves."""

    pieces = (range(BATCH // 2), range(BATCH // 2, BATCH))

    def epoch(self, epoch: int, class_ap: tuple[float, ...] = (), first: int = 0) -> Iterator[HostBatch]:
        targets = np.array([[0, 1, 0.5, 0.5, 0.4, 0.4], [2, 0, 0.3, 0.3, 0.2, 0.3]], dtype=np.float32)
        for step in range(first, STEPS):
            time.sleep(SLEEP_S)
            yield HostBatch(torch.zeros(BATCH, 64, 64, 3, dtype=torch.uint8), targets, tuple(range(step, step + BATCH)))

    def files(self) -> list[str]:
        return ["being-read.jpg"]

    def contents(self, epoch: int, step: int, class_ap: tuple[float, ...] = ()) -> dict[str, list[list[float]]]:
        return {f"{epoch}-{step}.jpg": []}


@pytest.fixture
def batches() -> Batches:
    config = TrainConfig(batch=BATCH, epochs=2, imgsz=64, hyp=Hyp(warmup_epochs=0))
    detector = build_detector(model_spec("yolov5n"), {0: "a", 1: "b"})
    loader: Any = SlowLoader()
    return Batches(loader, detector, Schedule(config, STEPS), World.start("cpu"))


@pytest.mark.parametrize(
    ("steps", "odd"), [((1, 1, 2), 2), ((0, 1, 2), 1)], ids=["one ahead", "one ahead and one behind"]
)
def test_processes_at_different_steps_are_all_stopped_and_the_odd_one_is_named(
    steps: tuple[int, ...], odd: int
) -> None:
    lines = run_in_processes(len(steps), drifted_apart, steps)
    assert f"processes are at different steps: process {odd} of machine 0 (" in lines[0]
    assert f") is at {steps[odd]}, " in lines[0] and "; go on from the newest checkpoint with --resume" in lines[0]
    assert lines == lines[:1] * len(steps)


def drifted_apart(steps: tuple[int, ...]) -> str:
    world, config = World.start("cpu"), TrainConfig(batch=BATCH, epochs=2, imgsz=64, hyp=Hyp(warmup_epochs=0))
    loader: Any = SlowLoader()
    schedule = Schedule(config, STEPS)
    batches = Batches(loader, build_detector(model_spec("yolov5n"), {0: "a"}), schedule, world)
    with pytest.raises(PeerError) as caught:
        list(batches.steps(TrainState(step=steps[world.rank])))
    return str(caught.value)


def test_waiting_for_data_is_measured_at_every_step(batches: Batches) -> None:
    waits = [batch.waited_s for batch in batches.steps(TrainState())]
    assert len(waits) == STEPS
    assert all(SLEEP_S <= wait < 20 * SLEEP_S for wait in waits)


def test_files_at_hand_are_those_that_are_read_and_then_those_of_the_batch(batches: Batches) -> None:
    steps, prepare, seen = batches.steps(TrainState()), batches._prepare, []

    def noted(*arguments: Any) -> Any:
        seen.append(waypoints.files_at_hand())
        return prepare(*arguments)

    batches._prepare = noted  # pyright: ignore
    for _ in steps:
        seen.append(waypoints.files_at_hand())
    reading = ["being-read.jpg"]
    assert seen == [reading, reading, ["0-0.jpg"], reading, ["0-1.jpg"], ["0-2.jpg"]]
    assert waypoints.files_at_hand() == []


def test_counts_cover_entries_and_all_cells(batches: Batches) -> None:
    batch = next(batches.steps(TrainState()))
    assert batch.instances == 2
    per_part = [[len(level.cells) for level in part.entries] for part in batch.parts]
    assert batch.entry_counts.tolist() == [sum(counts) for counts in zip(*per_part, strict=True)]
    assert all(any(counts) for counts in per_part), "the objects lie in both halves"
    images = [int(image) for part in batch.parts for level in part.entries for image in level.cells[:, 0]]
    assert set(images) == {0}, "counted within each half"
    assert batch.entry_counts.sum() > 0
    assert batch.cell_counts.tolist() == [BATCH * 3 * side * side for side in (8, 4, 2)]


def test_images_of_four_samples_count_their_own_cells_and_weigh_as_their_samples() -> None:
    config = TrainConfig(batch=4 * BATCH, epochs=2, imgsz=32, quad=True, hyp=Hyp(warmup_epochs=0))
    detector = build_detector(model_spec("yolov5n"), {0: "a", 1: "b"})
    loader: Any = SlowLoader()
    batch = next(Batches(loader, detector, Schedule(config, STEPS), World.start("cpu")).steps(TrainState()))
    assert batch.size_hw == (64, 64)
    assert (batch.samples, batch.global_images, batch.local_images) == (4 * BATCH, BATCH, BATCH)
    assert batch.cell_counts.tolist() == [BATCH * 3 * side * side for side in (8, 4, 2)]
    options = loss_options(config, detector)
    sums = torch.ones(3, 3)
    means = term_means(sums, batch.entry_counts, batch.cell_counts, options)
    # As the reference: four times the loss of so many images.
    assert batch_loss(sums, batch, options) == pytest.approx(4 * BATCH * float(means.sum()))


def test_an_epoch_of_which_only_the_validation_is_left_has_no_steps(batches: Batches) -> None:
    assert list(batches.steps(TrainState(phase="validate", step=STEPS))) == []


def test_a_process_at_another_step_is_caught(batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    original = World.start_sum

    def drifted(world: World, values: torch.Tensor) -> Any:
        values[-1] += 1
        return original(world, values)

    monkeypatch.setattr(World, "start_sum", drifted)
    with pytest.raises(PeerError, match="different steps"):
        next(batches.steps(TrainState()))
