"""What a process saw of its own share of a step, before gradients of all processes became one.

After the exchange a NaN of one process is in the gradient of all. These few numbers still say whose it was. They stay
on the device until somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from accel_yolo.models.detector import Detector

Contents = Callable[[], dict[str, list[list[float]]]]
"""Finds the image files that a process works on in a step, each with the rows of its labels."""


@dataclass(frozen=True)
class StepNumbers:
    """One step as one process saw it.

    Attributes:
        step: steps done before it.
        contents: finds its images.
        terms: [3] box, objectness and class loss of this process's share.
        edges: [2] largest entries of the gradient of this share, where it enters the network (the biases of the head)
            and where it leaves it (the first layer that learns).
        norms: [P] norms of the exchanged gradient of the parameters that learn; None when the step was no update.
        module: what `--debug-nan` found, in words; "" for nothing.
    """

    step: int
    contents: Contents
    terms: Tensor
    edges: Tensor
    norms: Tensor | None
    module: str = ""


class OwnShare:
    """Collects the numbers of the step that is being computed.

    Attributes:
        sums: [L, 3] float32, loss sums of this process.
    """

    def __init__(self, detector: Detector, device: torch.device) -> None:
        self._levels, self._device = len(detector.strides), device
        self.begin()
        learning = [parameter for parameter in detector.parameters() if parameter.requires_grad]
        for bias in (conv.bias for conv in detector.head.m if isinstance(conv, nn.Conv2d)):
            if bias is not None and bias.requires_grad:
                bias.register_hook(lambda gradient: self._note(0, gradient))
        if learning:
            learning[0].register_hook(lambda gradient: self._note(1, gradient))

    def begin(self) -> None:
        """Forget the step before."""
        self.sums = torch.zeros(self._levels, 3, device=self._device)
        self._edges: tuple[list[Tensor], list[Tensor]] = ([], [])

    def add(self, sums: Tensor) -> None:
        """Take in the loss sums [L, 3] of a micro-batch."""
        self.sums += sums.detach()

    def edges(self) -> Tensor:
        """Return the largest entries of the gradient at both ends, [2]; 0 where nothing learns."""
        none = self.sums.new_zeros(1)
        return torch.stack([torch.stack([*seen]).max() if seen else none[0] for seen in self._edges])

    def _note(self, edge: int, gradient: Tensor) -> None:
        self._edges[edge].append(torch.linalg.vector_norm(gradient.detach(), torch.inf).to(self.sums.dtype))
