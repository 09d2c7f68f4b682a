"""One image in, its detections out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from accel_yolo.errors import ConfigError
from accel_yolo.inference.network import Network, TorchNetwork
from accel_yolo.inference.predictor import Picture, PredictOptions, Predictor, fitting_hw, size_hw
from accel_yolo.metrics.nms import NmsOptions
from accel_yolo.models.zoo import build_detector, model_spec


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
    bright_spot: Network,
    hw: tuple[int, int],
    box: tuple[int, ...],
    imgsz: tuple[int, int],
    input_hw: tuple,
    spot_image: Callable[..., np.ndarray],
) -> None:
    found = Predictor(bright_spot)(spot_image(hw, box), PredictOptions(imgsz))
    assert found.input_hw == input_hw
    assert bright_spot.seen == [(1, 3, *input_hw)]
    gain = min(input_hw[0] / hw[0], input_hw[1] / hw[1])
    np.testing.assert_allclose(found.boxes_xyxy[0], box, atol=1.5 / min(gain, 1) + 0.5)
    assert found.boxes_xyxy.dtype == np.float32
    assert found.classes.tolist() == [1, 0]
    np.testing.assert_allclose(found.confidences, [0.9, 0.4])


def test_boxes_never_leave_the_image(bright_spot: Network, spot_image: Callable[..., np.ndarray]) -> None:
    found = Predictor(bright_spot)(spot_image((120, 160), (0, 0, 160, 120)), PredictOptions())
    assert found.boxes_xyxy[:, :2].min() >= 0
    assert found.boxes_xyxy[:, 2].max() <= 160
    assert found.boxes_xyxy[:, 3].max() <= 120


def test_the_network_sees_rgb_in_zero_to_one_and_grey_padding(bright_spot: Network) -> None:
    image = np.zeros((64, 32, 3), np.uint8)
    image[..., 0] = 255
    Predictor(bright_spot)(image, PredictOptions((64, 64)))
    (seen,) = bright_spot.inputs
    assert seen[0, :, 10, 32].tolist() == [1, 0, 0]
    torch.testing.assert_close(seen[0, :, 0, 0], torch.full((3,), 114 / 255))


def test_options_choose_what_is_kept(bright_spot: Network, spot_image: Callable[..., np.ndarray]) -> None:
    predictor = Predictor(bright_spot)
    image = spot_image()
    assert predictor(image, PredictOptions(nms=NmsOptions(conf_thres=0.5))).summary() == "1 dog"
    assert predictor(image, PredictOptions(nms=NmsOptions(classes=(0,)))).summary() == "1 person"
    assert predictor(image, PredictOptions(nms=NmsOptions(max_det=1))).summary() == "1 dog"
    assert predictor(np.zeros((50, 50, 3), np.uint8), PredictOptions()).summary() == "no detections"


def test_a_class_that_does_not_exist_is_refused(bright_spot: Network, spot_image: Callable[..., np.ndarray]) -> None:
    with pytest.raises(ConfigError, match="--classes: 2; this detector has classes 0 to 1"):
        Predictor(bright_spot)(spot_image(), PredictOptions(nms=NmsOptions(classes=(1, 2))))


def test_images_of_one_input_size_go_together_and_answers_keep_the_order(
    bright_spot: Network, spot_image: Callable[..., np.ndarray]
) -> None:
    boxes = [(40, 30, 100, 90), (10, 20, 60, 60), (70, 50, 150, 110)]
    sizes = [(120, 160), (160, 120), (120, 160)]
    pictures = [Picture(spot_image(hw, box)) for hw, box in zip(sizes, boxes, strict=True)]
    together = Predictor(bright_spot).detect(pictures, PredictOptions())
    assert bright_spot.seen == [(2, 3, 512, 640), (1, 3, 640, 512)]
    for picture, found in zip(pictures, together, strict=True):
        alone = Predictor(bright_spot)(picture.image, PredictOptions())
        np.testing.assert_array_equal(found.boxes_xyxy, alone.boxes_xyxy)
        assert found.image is picture.image


def test_a_network_of_fixed_size_gets_that_size(bright_spot: Network, spot_image: Callable[..., np.ndarray]) -> None:
    bright_spot.fixed_hw = (320, 320)
    found = Predictor(bright_spot)(spot_image((120, 160), (40, 30, 100, 90)), PredictOptions())
    assert bright_spot.seen == [(1, 3, 320, 320)]
    np.testing.assert_allclose(found.boxes_xyxy[0], (40, 30, 100, 90), atol=1.5)


def test_reduced_precision_computes_the_network_in_that_type() -> None:
    detector = build_detector(model_spec("yolov5n"), {0: "a"})
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        network = TorchNetwork(detector, precision)
        raws = network(torch.zeros(1, 3, 64, 64).to(network.input_dtype))
        assert {raw.dtype for raw in raws} == {dtype}
        rows, _ = network.candidates(raws, 0.0)
        assert rows.dtype == torch.float32
    with pytest.raises(ConfigError, match="fp16 does not work on a CPU"):
        TorchNetwork(detector, "fp16")


def test_sizes_are_one_or_two_numbers_rounded_up_to_the_stride() -> None:
    assert size_hw((640,)) == (640, 640)
    assert size_hw((320, 640)) == (320, 640)
    assert fitting_hw((321, 640), 64) == (384, 640)
    for wrong in ((), (1, 2, 3), (0,)):
        with pytest.raises(ConfigError, match="--imgsz"):
            size_hw(wrong)
