"""What every detector can do, however it runs: a batch in, candidates out, objects kept."""

# B images, C classes, R candidates of a batch

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from accel_yolo import console
from accel_yolo.devices import autocast_dtype
from accel_yolo.metrics.nms import NmsOptions, suppressed
from accel_yolo.models.blocks import Conv
from accel_yolo.models.decoding import confident_rows
from accel_yolo.models.detector import Detector

Candidates = tuple[Tensor, Tensor]
"""rows [R, 5 + C] float32: cx, cy, w, h in network-input pixels, objectness and class probabilities in 0..1; image [R]
int64, ascending: the place of each row's image in the batch."""


class Network(ABC):
    """A detector ready for batches, in torch or in another runtime.

    Attributes:
        names: class number -> name.
        strides: input pixels per cell, per level.
        device: where the input goes and where candidates come from.
        imgsz: image side it was made for, px.
        fixed_hw: the only input size (height, width) it takes, px; None takes any multiple of `stride`.
        parallel: whether several threads may call it at once, each with a batch of its own.
    """

    names: dict[int, str]
    strides: tuple[int, ...]
    device: torch.device
    imgsz: int
    fixed_hw: tuple[int, int] | None = None
    parallel: bool = False

    @property
    def stride(self) -> int:
        """Input sizes are multiples of this, px."""
        return max(32, *self.strides)

    @property
    def input_dtype(self) -> torch.dtype:
        """What the first layer computes in, so that a batch is converted once."""
        return torch.float32

    def tell_fixed_size(self, imgsz: tuple[int, int]) -> None:
        """Say in one line that a network of fixed input size is not run at the size that was asked for."""
        if self.fixed_hw is not None and self.fixed_hw != imgsz:
            own, asked = ("x".join(map(str, hw)) for hw in (self.fixed_hw, imgsz))
            console.warn(f"the exported model takes {own} px only; --imgsz {asked} is not used")

    def note_limits(self, options: NmsOptions) -> None:  # noqa: B027 (most networks have none)
        """Say in one line, once, that something is asked for that this network cannot answer."""

    @abstractmethod
    def __call__(self, images: Tensor) -> Any:
        """Return whatever `candidates` reads, for images [B, 3, H, W] of `input_dtype`, RGB in 0..1, on `device`."""

    @abstractmethod
    def candidates(self, output: Any, conf_thres: float) -> Candidates:
        """Return the predictions in `output` whose objectness is above a threshold (0..1)."""

    def found(self, output: Any, images: int, options: NmsOptions, given: Candidates | None = None) -> list[Tensor]:
        """Return the objects kept of each image, most confident first.

        Args:
            output: what the network returned.
            images: B.
            options: thresholds and filters.
            given: further candidates, such as the labels; None adds none.

        Returns:
            B tensors [k, 6] float32: x1, y1, x2, y2 in network-input pixels, confidence, class.
        """
        self.note_limits(options)
        parts = [self.candidates(output, options.conf_thres)]
        rows, image = joined(parts if given is None else [*parts, given])
        return suppressed(rows.float(), image, images, options)


def joined(parts: list[Candidates]) -> Candidates:
    """Return candidates of several kinds as one, image by image; in an image they keep the order of the parts."""
    if len(parts) == 1:
        return parts[0]
    image = torch.cat([image for _, image in parts])
    order = image.sort(stable=True).indices
    return torch.cat([rows.float() for rows, _ in parts])[order], image[order]


class TorchNetwork(Network):
    """A detector that torch runs.

    Args:
        detector: a fused copy of it is used, on the device where it is.
        precision: "auto" and "fp32" compute in float32; "fp16" and "bf16" run the network in that type.
        imgsz: image side it was trained for, px.

    Raises:
        ConfigError: fp16 on a CPU.
    """

    parallel = True

    def __init__(self, detector: Detector, precision: str = "auto", imgsz: int = 640) -> None:
        self.device = detector.anchors.device
        self.dtype = autocast_dtype(precision, self.device)
        self.detector = inference_copy(detector)
        self.names, self.strides, self.imgsz = dict(detector.names), detector.strides, imgsz

    @property
    def input_dtype(self) -> torch.dtype:
        """What the first layer computes in."""
        return self.detector.anchors.dtype if self.dtype is None else self.dtype

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Return raw head outputs, one [B, A, H, W, 5 + C] for each level."""
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            return self.detector(images)

    def candidates(self, output: Sequence[Tensor], conf_thres: float, levels: slice = slice(None)) -> Candidates:
        """Return the confident predictions of the levels asked for, all of them by default."""
        return confident_rows(self.detector, output, conf_thres, levels)


def inference_copy(detector: Detector) -> Detector:
    """Return a fused copy in evaluation mode, channels last."""
    model = copy.deepcopy(detector).eval().fuse()
    for module in model.modules():
        if isinstance(module, Conv) and isinstance(module.act, nn.SiLU):
            module.act.inplace = True  # nothing else reads what it is given, and nothing is differentiated
    return model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
