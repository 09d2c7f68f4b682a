"""Exported ONNX models by ONNX Runtime, with NumPy and OpenCV around them: no torch needed, none imported."""

# B images, N predictions per image, C classes

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_yolo.inference.picture_detector import Found, Picture, PictureDetector, PredictOptions, letterboxed
from accel_yolo.inference.results import Speed
from accel_yolo.inference.runtimes.answers import DroppedByGraph, as_predictions, batches_of, check_answer
from accel_yolo.inference.runtimes.onnx_session import OnnxSession
from accel_yolo.letterbox import Letterbox
from accel_yolo.metrics.nms_arrays import suppressed_arrays


class OnnxDetector(PictureDetector):
    """An exported model, ready for images of any size: see `OnnxSession` for its arguments and errors."""

    def __init__(self, path: Path, device: str = "", precision: str = "auto") -> None:
        self._session, self._where = OnnxSession(path, device, precision), str(path)
        self._description = self._session.description
        self._dropped = DroppedByGraph(self._description.nms, self._where)
        self.fixed_hw = self._description.hw
        self.stride = max(32, *self._description.strides)
        self.names = self._description.names

    def found(self, boxes: Sequence[Letterbox], pictures: Sequence[Picture], options: PredictOptions) -> Found:
        """Return the objects kept of pictures whose letterboxes have one size."""
        self._dropped.warn(options.nms)
        times = [time.perf_counter()]
        pixels = np.ascontiguousarray(letterboxed(boxes, pictures).transpose(0, 3, 1, 2))
        images = (pixels.astype(np.float32) / np.float32(255)).astype(self._session.dtype, copy=False)
        times.append(time.perf_counter())
        decoded = self._decoded(images)
        times.append(time.perf_counter())
        tables = [suppressed_arrays(rows, options.nms) for rows in decoded]
        times.append(time.perf_counter())
        return tables, Speed(*(np.diff(times) * 1e3).tolist())

    def _decoded(self, images: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Return the predictions [N, 5 + C] of each image."""
        decoded: list[NDArray[np.float32]] = []
        for places, wanted in batches_of(len(images), self._description.batch):
            batch = images[places]
            output = self._session.run(batch)
            check_answer(output.shape, len(batch), self._description, self._where)
            decoded += [self._as_predictions(rows) for rows in output[:wanted]]
        return decoded

    def _as_predictions(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return predictions [k, 5 + C] of the rows of one image."""
        if self._description.nms is None:
            return rows
        kept = rows[rows[:, 4] > 0]
        self._dropped.warn_if_full(len(kept))
        return as_predictions(kept, len(self.names), self._where)
