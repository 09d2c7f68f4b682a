"""An export that is another detector is found out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from accel_yolo.export.comparison import FULL, Difference, compared, of_detections
from accel_yolo.export.exported import ExportedDetector
from accel_yolo.export.request import ExportRequest
from accel_yolo.inference.runtimes.description import NmsInGraph
from accel_yolo.inference.runtimes.exported import ExportedNetwork
from accel_yolo.models.detector import Detector
from accel_yolo.models.weights_meta import WeightsMeta
from accel_yolo.models.zoo import build_detector, model_spec


@pytest.fixture(scope="module")
def request_(trained: Detector) -> ExportRequest:
    return ExportRequest(trained, WeightsMeta.of(trained, 64, "made"), hw=(64, 96))


@pytest.fixture(scope="module")
def trained() -> Detector:
    """An untrained detector that is sure of itself everywhere: all its predictions are compared."""
    detector = build_detector(model_spec("yolov5n"), {0: "a", 1: "b"}, seed=0)
    for conv in detector.head.m:
        conv.bias.data.view(3, 7)[:, 4:] += 6.0
    return detector


class Other(ExportedNetwork):
    """The same detector, with something added to what it answers."""

    def __init__(self, request: ExportRequest, added: Tensor) -> None:
        self._same, self._added = ExportedDetector(request.detector), added
        super().__init__(Path("other"), request.description(half=False), torch.device("cpu"))

    def run(self, images: Tensor) -> Tensor:
        return self._same(images) + self._added


IMAGES = [np.full((50, 70, 3), shade, np.uint8) for shade in (30, 90)]


@pytest.mark.parametrize(
    ("column", "added", "is_same"),
    [(0, 0.0, True), (2, 0.4, True), (2, 0.6, False), (4, 0.0009, True), (5, 0.0011, False), (0, float("nan"), False)],
)
def test_boxes_half_a_pixel_and_scores_a_thousandth_away_are_another_detector(
    request_: ExportRequest, column: int, added: float, is_same: bool
) -> None:
    offset = torch.zeros(7)
    offset[column] = added
    difference = compared(request_, Other(request_, offset), IMAGES)
    assert difference.compared > 0
    assert difference.within(FULL) == is_same


def test_every_place_of_a_batch_is_compared(request_: ExportRequest) -> None:
    class WrongAtTheEnd(Other):
        def run(self, images: Tensor) -> Tensor:
            assert len(images) == 3
            output = super().run(images)
            output[2, :, 0] += 1.0
            return output

    of_three = dataclasses.replace(request_, batch=3)
    assert not compared(of_three, WrongAtTheEnd(of_three, torch.zeros(7)), IMAGES).within(FULL)
    assert compared(of_three, Other(of_three, torch.zeros(7)), IMAGES).within(FULL)


def test_another_shape_is_another_detector(request_: ExportRequest) -> None:
    class Short(Other):
        def run(self, images: Tensor) -> Tensor:
            return super().run(images)[:, 1:]

    assert not compared(request_, Short(request_, torch.zeros(7)), IMAGES).within(FULL)


def test_detections_that_only_one_side_has_are_counted() -> None:
    wanted = torch.tensor([[[20.0, 20, 10, 10, 0.9, 1, 0], [60.0, 60, 10, 10, 0.9, 0, 1]]])
    both = torch.tensor([[[15.0, 15, 25, 25, 0.9, 0], [55.0, 55, 65, 65, 0.9, 1], [0, 0, 0, 0, 0, 0]]])
    assert of_detections(wanted, both, NmsInGraph()) == Difference(0.0, 0.0, 2, 0)
    assert of_detections(wanted, both[:, :1], NmsInGraph()) == Difference(0.0, 0.0, 1, 1)
    assert not of_detections(wanted, both[:, :1], NmsInGraph()).within(FULL)
    other_class = both.clone()
    other_class[0, 0, 5] = 1
    assert of_detections(wanted, other_class, NmsInGraph()).lost == 2
