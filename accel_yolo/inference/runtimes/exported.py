"""What all exported models have in common: batches of the right size, candidates out of one table."""

# B images, N predictions per image, C classes, K rows per image after NMS in the graph

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import torch
from torch import Tensor

from accel_yolo import console
from accel_yolo.errors import CheckpointError, ConfigError
from accel_yolo.inference.network import Candidates, Network
from accel_yolo.inference.runtimes.description import BOX_COLUMNS, DETECTION_COLUMNS, Description, as_predictions
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
        own = "fp16" if description.half else "fp32"
        if precision not in ("auto", own):
            remedy = (
                f"leave --half and --precision out, or export again {'without' if description.half else 'with'} --half"
            )
            raise ConfigError(f"an exported model has its own precision, {own}", str(path), precision, remedy)
        self.path, self.description, self.device = path, description, device
        self.names, self.strides = description.names, description.strides
        self.imgsz, self.fixed_hw = description.imgsz, description.hw
        self._has_warned = False

    @property
    def input_dtype(self) -> torch.dtype:
        """What the file takes."""
        return torch.float16 if self.description.half else torch.float32

    @abstractmethod
    def run(self, images: Tensor) -> Tensor:
        """Return the first output of the runtime, on `device`, for images [B, 3, H, W] of a batch that it takes."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return predictions [B, N, 5 + C], or with NMS in the graph [B, K, 6], float32.

        A file for batches of fixed size gets them, the last one filled up with black images.
        """
        size = self.description.batch
        if size is None or size == len(images):
            return self._checked(self.run(images), len(images))
        parts = []
        for part in images.split(size):
            missing = size - len(part)
            filled = torch.cat((part, part.new_zeros(missing, *part.shape[1:]))) if missing else part
            parts.append(self._checked(self.run(filled), size)[: len(part)])
        return torch.cat(parts)

    def candidates(self, output: Tensor, conf_thres: float) -> Candidates:
        """Return the confident predictions; what NMS in the graph kept has one class each, with certainty."""
        image, row = torch.nonzero(output[..., 4] > conf_thres, as_tuple=True)
        rows = output[image, row].float()
        if self.description.nms is None:
            return rows, image
        certain = as_predictions(rows.cpu().numpy(), len(self.names), str(self.path))
        return torch.from_numpy(certain).to(rows.device), image

    def found(self, output: Tensor, images: int, options: NmsOptions, given: Candidates | None = None) -> list[Tensor]:
        """Return the objects kept; one warning says where NMS in the graph has thrown away what is asked for."""
        self._warn(options)
        return super().found(output, images, options, given)

    def _checked(self, output: Tensor, images: int) -> Tensor:
        columns = BOX_COLUMNS + len(self.names) if self.description.nms is None else DETECTION_COLUMNS
        if output.ndim != 3 or output.shape[0] != images or output.shape[2] != columns:
            what = f"{'x'.join(map(str, output.shape))} instead of {images}xNx{columns}"
            raise CheckpointError(
                "not the output of a detector of this family", str(self.path), what, "export it again"
            )
        return output

    def _warn(self, options: NmsOptions) -> None:
        baked = self.description.nms
        if baked is None or self._has_warned:
            return
        lost = []
        if options.conf_thres < baked.conf_thres:
            lost.append(f"confidence above {baked.conf_thres}")
        if options.iou_thres > baked.iou_thres:
            lost.append(f"overlap up to {baked.iou_thres}")
        if options.max_det > baked.max_det:
            lost.append(f"at most {baked.max_det} detections")
        if lost:
            self._has_warned = True
            console.warn(f"NMS in the graph of {self.path} keeps {', '.join(lost)}: what it dropped is not seen")
