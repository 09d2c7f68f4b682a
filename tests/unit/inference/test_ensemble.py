"""Several networks as one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from accel_yolo.data.images import read_image
from accel_yolo.errors import ConfigError
from accel_yolo.inference.ensemble import Ensemble
from accel_yolo.inference.network import Candidates, Network
from accel_yolo.inference.networks import NetworkOptions, load_network
from accel_yolo.inference.predictor import Picture, PredictOptions, Predictor
from accel_yolo.metrics.nms import NmsOptions

CPU = torch.device("cpu")


class _Blind(Network):
    """Finds nothing."""

    names = {0: "person", 1: "dog"}
    strides = (8, 16, 64)
    device = CPU
    imgsz = 640

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def candidates(self, output: torch.Tensor, conf_thres: float) -> Candidates:
        return torch.zeros(0, 7), torch.zeros(0, dtype=torch.int64)


@pytest.mark.parametrize("fusion", ["nms", "wbf"])
@pytest.mark.parametrize("augment", [False, True])
def test_several_copies_of_one_network_answer_as_that_network(
    published_weights: Path, coco128: Path, fusion: str, augment: bool
) -> None:
    paths = sorted((coco128.parent / "coco128" / "images").rglob("*.jpg"))[:4]
    pictures = [Picture(read_image(str(path))) for path in paths]
    options = PredictOptions((320, 320), NmsOptions(0.001, 0.6, multi_label=True))
    alone = load_network([str(published_weights)], CPU, NetworkOptions(augment=augment))
    several = load_network([str(published_weights)] * 3, CPU, NetworkOptions(augment=augment, fusion=fusion))
    for one, three in zip(*(Predictor(each).detect(pictures, options) for each in (alone, several)), strict=True):
        assert len(one) > 15
        np.testing.assert_allclose(three.xyxy, one.xyxy, atol=2e-4)


def test_with_nms_every_network_adds_what_the_others_missed(
    bright_spot: Network, spot_image: Callable[..., np.ndarray]
) -> None:
    found = Predictor(Ensemble([_Blind(), bright_spot]))(spot_image(), PredictOptions())
    assert found.summary() == "1 person, 1 dog"
    low = PredictOptions(nms=NmsOptions(conf_thres=0.1))
    fused = Predictor(Ensemble([_Blind(), bright_spot], "wbf"))(spot_image(), low)
    np.testing.assert_allclose(fused.confidences, found.confidences / 2)


def test_what_fusion_leaves_below_the_threshold_is_not_found(
    bright_spot: Network, spot_image: Callable[..., np.ndarray]
) -> None:
    others = [_Blind(), _Blind()]
    found = Predictor(Ensemble([bright_spot, *others], "wbf"))(spot_image(), PredictOptions())
    assert found.summary() == "1 dog"  # 0.9 and 0.4, by one of three


def test_networks_of_different_classes_or_input_sizes_are_refused(bright_spot: Network) -> None:
    other = copy.copy(bright_spot)
    other.names = {0: "person", 1: "cat"}
    with pytest.raises(ConfigError, match="--weights: file 2 has 'cat' as class 1 instead of 'dog'"):
        Ensemble([bright_spot, other])
    other.names = {0: "person"}
    with pytest.raises(ConfigError, match="file 3 has 1 classes instead of 2"):
        Ensemble([bright_spot, bright_spot, other])
    other.names, other.fixed_hw = bright_spot.names, (320, 320)
    assert Ensemble([bright_spot, other]).fixed_hw == (320, 320)
    third = copy.copy(other)
    third.fixed_hw = (640, 640)
    with pytest.raises(ConfigError, match="exported networks of different input sizes"):
        Ensemble([other, third])


def test_one_network_cannot_be_fused(published_weights: Path) -> None:
    with pytest.raises(ConfigError, match="there is nothing to fuse in --weights"):
        load_network([str(published_weights)], CPU, NetworkOptions(fusion="wbf"))
