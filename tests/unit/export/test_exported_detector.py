"""The network as it is exported answers as the detector does, whatever its architecture."""

from __future__ import annotations

import pytest
import torch

from accel_yolo.export.exported import ExportedDetector
from accel_yolo.models.zoo import build_detector, model_spec


@pytest.mark.parametrize("relative_grid", [False, True])
@pytest.mark.parametrize(
    ("name", "activation"), [("yolov5n", None), ("yolov5n6", None), ("yolov5n", "nn.LeakyReLU(0.1)")]
)
def test_it_decodes_as_the_detector_does(name: str, activation: str | None, relative_grid: bool) -> None:
    spec = model_spec(name) if activation is None else {**model_spec(name), "activation": activation}
    detector = build_detector(spec, {0: "a", 1: "b", 2: "c"}, seed=1).eval()
    images = torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = detector.decode(detector(images))
        got = ExportedDetector(detector, relative_grid=relative_grid)(images)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_in_half_the_boxes_are_decoded_in_full_precision() -> None:
    detector = build_detector(model_spec("yolov5n"), {0: "a"}, seed=1)
    network = ExportedDetector(detector, half=True)
    with torch.no_grad():
        answer = network(torch.zeros(1, 3, 64, 64, dtype=torch.float16))
    assert answer.dtype == torch.float32
    assert next(detector.parameters()).dtype == torch.float32, "the detector itself is left as it is"
