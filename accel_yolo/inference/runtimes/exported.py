"""What all exported models have in common: batches of the right size, candidates out of one table."""

# B images, N predictions per image, C classes, K rows per image after NMS in the graph

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import torch
from torch import Tensor

from accel_yolo.inference.network import Candidates, Network
from accel_yolo.inference.runtimes.answers import DroppedByGraph, as_predictions, batches_of, check_answer
from accel_yolo.inference.runtimes.description import Description
from accel_yolo.metrics.nms import NmsOptions


class ExportedNetwork(Network):
    """A detector that another runtime runs.

    Args:
        path: the file or folder, for messages.
        description: what it takes and returns.
        device: where candidates come from.
        precision: "auto", or the one of the file; nothing else can be had from it.

    Raises:
        ConfigError: another precision than that of the file.
    """

    def __init__(self, path: Path, description: Description, device: torch.device, precision: str = "auto") -> None:
        description.require_precision(precision, str(path))
        self.path, self.description, self.device = path, description, device
        self.names, self.strides = description.names, description.strides
        self.imgsz, self.fixed_hw = description.imgsz, description.hw
        self._dropped = DroppedByGraph(description.nms, str(path))

    @property
    def input_dtype(self) -> torch.dtype:
        """What the file takes."""
        return torch.float16 if self.description.half else torch.float32

    @abstractmethod
    def run(self, images: Tensor) -> Tensor:
        """Return the first output of the runtime, on `device`, for images [B, 3, H, W] of a batch that it takes."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return predictions [B, N, 5 + C], or with NMS in the graph [B, K, 6], float32.

        A file for batches of fixed size gets them, the last one filled up with its last image.
        """
        parts = []
        for places, wanted in batches_of(len(images), self.description.batch):
            batch = images[places]
            output = self.run(batch)
            check_answer(output.shape, len(batch), self.description, str(self.path))
            parts.append(output[:wanted])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def candidates(self, output: Tensor, conf_thres: float) -> Candidates:
        """Return the confident predictions; what NMS in the graph kept has one class each, with certainty."""
        image, row = torch.nonzero(output[..., 4] > conf_thres, as_tuple=True)
        rows = output[image, row].float()
        if self.description.nms is None:
            return rows, image
        self._dropped.warn_if_full(int((output[..., 4] > 0).sum(dim=1).max()) if len(output) else 0)
        certain = as_predictions(rows.cpu().numpy(), len(self.names), str(self.path))
        return torch.from_numpy(certain).to(rows.device), image

    def note_limits(self, options: NmsOptions) -> None:
        """Warn once where NMS in the graph has thrown away what is asked for."""
        self._dropped.warn(options)
