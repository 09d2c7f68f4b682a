"""From boxes in the network input back to boxes in the image as it was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Placement:
    """How an image of `source_hw` lies in a network input: input = source * gain + pad.

    Attributes:
        source_hw: (height, width) of the image, px.
        gain: scale, the same for both axes.
        pad_xy: offset of the content in input px, unrounded.
    """

    source_hw: tuple[int, int]
    gain: float
    pad_xy: tuple[float, float]

    @classmethod
    def computed(cls, source_hw: tuple[int, int], input_hw: tuple[int, int]) -> Placement:
        """Return the placement of an image that was enlarged as far as `input_hw` allows, and centred."""
        height, width = source_hw
        gain = min(input_hw[0] / height, input_hw[1] / width)
        return cls(source_hw, gain, ((input_hw[1] - width * gain) / 2, (input_hw[0] - height * gain) / 2))

    def to_source(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return corners [n, 4] in px of the image, clipped to it, of corners [n, 4] float in px of the input."""
        height, width = self.source_hw
        corners = (boxes_xyxy - np.array(self.pad_xy * 2, boxes_xyxy.dtype)) / boxes_xyxy.dtype.type(self.gain)
        return corners.clip(0, np.array([width, height, width, height], boxes_xyxy.dtype))
