"""Images in, their detections out, through a network that answers with tensors."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from accel_yolo.inference.network import Network
from accel_yolo.inference.picture_detector import (
    Found,
    Picture,
    PictureDetector,
    PredictOptions,
    fitting_hw,
    letterboxed,
    size_hw,
)
from accel_yolo.inference.results import Speed
from accel_yolo.letterbox import Letterbox
from accel_yolo.models.network_input import network_input

__all__ = ["Picture", "PredictOptions", "Predictor", "fitting_hw", "size_hw"]


class Predictor(PictureDetector):
    """A network ready for images of any size."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.names = network.names
        self.stride, self.fixed_hw = network.stride, network.fixed_hw

    @torch.inference_mode()
    def found(self, boxes: Sequence[Letterbox], pictures: Sequence[Picture], options: PredictOptions) -> Found:
        """Return the objects kept of pictures whose letterboxes have one size."""
        times = [self._clock()]
        pixels = torch.from_numpy(letterboxed(boxes, pictures))
        batch = network_input(pixels.to(self.network.device), self.network.input_dtype)
        times.append(self._clock())
        output = self.network(batch)
        times.append(self._clock())
        kept = self.network.found(output, len(pictures), options.nms)
        # The one copy to the host; on a GPU it waits for all that was asked for.
        tables = torch.cat(kept).float().cpu().numpy()
        times.append(self._clock())
        ends = np.cumsum([len(rows) for rows in kept])[:-1]
        return np.split(tables, ends), Speed(*(np.diff(times) * 1e3).tolist())

    def _clock(self) -> float:
        if self.network.device.type == "cuda":
            torch.cuda.synchronize(self.network.device)
        return time.perf_counter()
