"""The one module that is prepared: images and matched cells in, loss sums out."""

from __future__ import annotations

import numpy as np
import torch

from accel_yolo.data.colour import jitter
from accel_yolo.engine.trainable import Trainable
from accel_yolo.losses.assignment import assign
from accel_yolo.losses.detection import LossOptions
from accel_yolo.models.zoo import build_detector, model_spec


def test_colours_left_to_the_device_are_changed_before_the_network_sees_them() -> None:
    detector = build_detector(model_spec("yolov5n"), {0: "a", 1: "b"})
    trainable = Trainable(detector, LossOptions(0.05, 1.0, 0.5, nc=2)).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    gains = np.array([(1.01, 1.4, 0.7), (1.0, 1.0, 1.0)], dtype=np.float32)
    changed = pixels.copy()
    jitter(changed[0], tuple(gains[0].tolist()))
    targets = np.array([[0, 1, 0.5, 0.5, 0.4, 0.4]], dtype=np.float32)
    grids = [(64 // stride, 64 // stride) for stride in detector.strides]
    entries = assign(targets, detector.anchors.numpy(), grids, 4.0)
    with torch.no_grad():
        left = trainable(torch.from_numpy(pixels), entries, (64, 64), torch.from_numpy(gains))
        done = trainable(torch.from_numpy(changed), entries, (64, 64))
        plain = trainable(torch.from_numpy(pixels), entries, (64, 64))
    torch.testing.assert_close(left, done, rtol=1e-3, atol=1e-4)
    assert (left - plain).abs().max() > 10 * (left - done).abs().max()
