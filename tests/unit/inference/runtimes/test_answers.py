"""What is said about what non-maximum suppression in a graph has dropped."""

from __future__ import annotations

import pytest

from accel_yolo.inference.runtimes.answers import DroppedByGraph
from accel_yolo.inference.runtimes.description import NmsInGraph
from accel_yolo.metrics.nms_options import NmsOptions

BAKED = NmsInGraph(conf_thres=0.2, iou_thres=0.45, max_det=100)


def test_what_was_dropped_is_said_once_and_only_if_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    dropped = DroppedByGraph(BAKED, "x.onnx")
    dropped.warn(NmsOptions(0.25, 0.45, max_det=1000))
    dropped.warn_if_full(99)
    assert not capsys.readouterr().err
    for _ in range(2):
        dropped.warn(NmsOptions(0.1, 0.6))
        dropped.warn_if_full(100)
    first, second = capsys.readouterr().err.splitlines()
    assert "x.onnx keeps confidence above 0.2, overlap up to 0.45" in first
    assert "all 100 detections" in second and "--max-det" in second
