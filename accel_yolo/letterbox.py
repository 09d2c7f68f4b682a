"""Resize and pad an image to a network input, and the exact way back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

FILL = 114
"""Grey level of the padding, all three channels."""


def resized_hw(source_hw: tuple[int, int], imgsz: int) -> tuple[int, int]:
    """Return (height, width) of an image whose longer side is brought to `imgsz` px, rounded up."""
    height, width = source_hw
    ratio = imgsz / max(height, width)
    if ratio == 1:
        return height, width
    return math.ceil(height * ratio), math.ceil(width * ratio)


@dataclass(frozen=True)
class Letterbox:
    """Where an image lies in a padded network input.

    Attributes:
        source_hw: size of the image that is placed, px.
        content_hw: its size inside the input, px.
        out_hw: size of the input, px.
        left, top: first column and row of the content, whole px.
        ratio: resize factor.
        pad_xy: *unrounded* half padding in px, which the reference uses to map boxes back.
    """

    source_hw: tuple[int, int]
    content_hw: tuple[int, int]
    out_hw: tuple[int, int]
    left: int
    top: int
    ratio: float
    pad_xy: tuple[float, float]

    @classmethod
    def plan(
        cls,
        source_hw: tuple[int, int],
        target_hw: tuple[int, int],
        *,
        auto: bool = False,
        scaleup: bool = True,
        stride: int = 32,
    ) -> Letterbox:
        """Return the placement of an image of `source_hw` in an input of `target_hw`.

        Args:
            source_hw: (height, width) of the image, px.
            target_hw: (height, width) wished for, px.
            auto: pad only to the next multiple of `stride` instead of the whole target.
            scaleup: allow enlarging.
            stride: see `auto`.
        """
        height, width = source_hw
        ratio = min(target_hw[0] / height, target_hw[1] / width)
        if not scaleup:
            ratio = min(ratio, 1.0)
        content_hw = max(1, round(height * ratio)), max(1, round(width * ratio))
        pad_h, pad_w = float(target_hw[0] - content_hw[0]), float(target_hw[1] - content_hw[1])
        if auto:
            pad_h, pad_w = pad_h % stride, pad_w % stride
        pad_h, pad_w = pad_h / 2, pad_w / 2
        # The tenth breaks ties: of an odd padding the extra pixel goes to the bottom and to the right.
        top, bottom = round(pad_h - 0.1), round(pad_h + 0.1)
        left, right = round(pad_w - 0.1), round(pad_w + 0.1)
        out_hw = content_hw[0] + top + bottom, content_hw[1] + left + right
        return cls(source_hw, content_hw, out_hw, left, top, ratio, (pad_w, pad_h))

    def apply(self, image: np.ndarray, into: np.ndarray | None = None) -> np.ndarray:
        """Return the padded input, uint8 [H, W, C], of an image uint8 [h, w, C] of size `source_hw`.

        Args:
            image: see above.
            into: where to write it, of size `out_hw`, contiguous; None makes an array.
        """
        import cv2
        import numpy as np

        canvas = np.empty((*self.out_hw, image.shape[2]), dtype=np.uint8) if into is None else into
        canvas.fill(FILL)
        height, width = self.content_hw
        place = canvas[self.top : self.top + height, self.left : self.left + width]
        if self.content_hw == self.source_hw:
            place[:] = image
        else:
            place[:] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        return canvas
