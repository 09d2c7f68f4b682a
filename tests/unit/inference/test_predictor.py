"""One image in, its detections out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from accel_yolo.errors import ConfigError
from accel_yolo.inference.predictor import PredictOptions, Predictor, fitting_hw, size_hw
from accel_yolo.metrics.nms import NmsOptions

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("hw", "box", "imgsz", "input_hw"),
    [
        ((120, 160), (40, 30, 100, 90), (640, 640), (512, 640)),
        ((480, 640), (10, 20, 300, 400), (320, 320), (256, 320)),
        ((300, 100), (20, 30, 80, 200), (64, 640), (64, 64)),
        ((64, 64), (8, 8, 40, 40), (50, 50), (64, 64)),
    ],
)
def test_boxes_come_back_in_pixels_of_the_image(
    bright_spot: nn.Module,
    hw: tuple[int, int],
    box: tuple[int, ...],
    imgsz: tuple[int, int],
    input_hw: tuple,
    spot_image: Callable[..., np.ndarray],
) -> None:
    found = Predictor(bright_spot, CPU)(spot_image(hw, box), PredictOptions(imgsz))
    assert found.input_hw == input_hw
    assert bright_spot.seen == [(1, 3, *input_hw)]
    gain = min(input_hw[0] / hw[0], input_hw[1] / hw[1])
    np.testing.assert_allclose(found.boxes_xyxy[0], box, atol=1.5 / min(gain, 1) + 0.5)
    assert found.boxes_xyxy.dtype == np.float32
    assert found.classes.tolist() == [1, 0]
    np.testing.assert_allclose(found.confidences, [0.9, 0.4])


def test_boxes_never_leave_the_image(bright_spot: nn.Module, spot_image: Callable[..., np.ndarray]) -> None:
    found = Predictor(bright_spot, CPU)(spot_image((120, 160), (0, 0, 160, 120)), PredictOptions())
    assert found.boxes_xyxy[:, :2].min() >= 0
    assert found.boxes_xyxy[:, 2].max() <= 160
    assert found.boxes_xyxy[:, 3].max() <= 120


def test_the_network_sees_rgb_in_zero_to_one_and_grey_padding(bright_spot: nn.Module) -> None:
    seen: list[torch.Tensor] = []
    bright_spot.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = np.zeros((64, 32, 3), np.uint8)
    image[..., 0] = 255
    Predictor(bright_spot, CPU)(image, PredictOptions((64, 64)))
    assert seen[0][0, :, 10, 32].tolist() == [1, 0, 0]
    torch.testing.assert_close(seen[0][0, :, 0, 0], torch.full((3,), 114 / 255))


def test_options_choose_what_is_kept(bright_spot: nn.Module, spot_image: Callable[..., np.ndarray]) -> None:
    predictor = Predictor(bright_spot, CPU)
    image = spot_image()
    assert predictor(image, PredictOptions(nms=NmsOptions(conf_thres=0.5))).summary() == "1 dog"
    assert predictor(image, PredictOptions(nms=NmsOptions(classes=(0,)))).summary() == "1 person"
    assert predictor(image, PredictOptions(nms=NmsOptions(max_det=1))).summary() == "1 dog"
    assert predictor(np.zeros((50, 50, 3), np.uint8), PredictOptions()).summary() == "no detections"


def test_a_class_that_does_not_exist_is_refused(bright_spot: nn.Module, spot_image: Callable[..., np.ndarray]) -> None:
    with pytest.raises(ConfigError, match="--classes: 2; this detector has classes 0 to 1"):
        Predictor(bright_spot, CPU)(spot_image(), PredictOptions(nms=NmsOptions(classes=(1, 2))))


def test_reduced_precision_gives_the_same_boxes_as_float32(
    bright_spot: nn.Module, spot_image: Callable[..., np.ndarray]
) -> None:
    full, reduced = (Predictor(bright_spot, CPU, name)(spot_image(), PredictOptions()) for name in ("fp32", "bf16"))
    np.testing.assert_allclose(full.boxes_xyxy, reduced.boxes_xyxy)


def test_sizes_are_one_or_two_numbers_rounded_up_to_the_stride() -> None:
    assert size_hw((640,)) == (640, 640)
    assert size_hw((320, 640)) == (320, 640)
    assert fitting_hw((321, 640), 64) == (384, 640)
    for wrong in ((), (1, 2, 3), (0,)):
        with pytest.raises(ConfigError, match="--imgsz"):
            size_hw(wrong)
