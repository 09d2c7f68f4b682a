"""The compiled part of torchvision alone: importing the whole package takes longer than importing torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor


def suppress_overlaps(boxes_xyxy: Tensor, scores: Tensor, iou_thres: float) -> Tensor:
    """Return the rows that stay, int64 [k], best first: a box goes if it overlaps a better one that stays too much.

    Args:
        boxes_xyxy: [n, 4] float, corners in any frame.
        scores: [n] float; equal scores count in the order given.
        iou_thres: a greater IoU is too much.
    """
    return torch.ops.torchvision.nms(boxes_xyxy, scores, iou_thres)


def _load() -> None:
    """Register torchvision's operators with torch."""
    spec = find_spec("torchvision")  # finds the package without running it
    folders = spec.submodule_search_locations if spec else None
    for library in [path for folder in folders or () for path in sorted(Path(folder).glob("_C*.so"))]:
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
        if hasattr(torch.ops.torchvision, "nms"):
            return
    # Built another way, as on Windows: the package knows how, and says what is wrong if it does not fit torch.
    import torchvision.ops  # noqa: F401


_load()
