"""The detection loss as sums, and the one division that turns global sums into the loss of the whole batch."""

# B images, A anchors, L levels, H W grid, C classes, E entries

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from accel_yolo.boxes import paired_iou
from accel_yolo.losses.assignment import LevelEntries
from accel_yolo.losses.gather import rows_and_objectness

TERMS = ("box", "obj", "cls")
"""Columns of every [L, 3] table of sums."""


@dataclass(frozen=True)
class LossOptions:
    """What the loss of one run depends on, gains already scaled for layers, classes and image size."""

    box: float
    obj: float
    cls: float
    cls_pw: float = 1.0
    obj_pw: float = 1.0
    fl_gamma: float = 0.0
    label_smoothing: float = 0.0
    nc: int = 80
    levels: int = 3

    @property
    def balance(self) -> tuple[float, ...]:
        """Weights of the objectness term per level, from the finest."""
        return (4.0, 1.0, 0.4) if self.levels == 3 else (4.0, 1.0, 0.25, 0.06, 0.02)[: self.levels]

    def scaled(self, imgsz: int) -> LossOptions:
        """Return the options with gains scaled for the number of levels, of classes, and the image size in px."""
        layers = 3 / self.levels
        return replace(
            self,
            box=self.box * layers,
            obj=self.obj * (imgsz / 640) ** 2 * layers,
            cls=self.cls * self.nc / 80 * layers,
        )


def detection_sums(raws: Sequence[Tensor], entries: Sequence[LevelEntries], options: LossOptions) -> Tensor:
    """Return the local sums [L, 3] (box, objectness, class) of one forward pass, undivided, float32 or wider.

    Box: 1 - CIoU summed over entries; objectness: binary cross-entropy summed over all cells; class: binary
    cross-entropy summed over entries and classes. Every head output takes part even when no object is there.

    Args:
        raws: L head outputs [B, A, H, W, 5 + C], before any sigmoid.
        entries: L tables of matched cells on the same device.
        options: see `LossOptions`.
    """
    return torch.stack([_level_sums(raw, level, options) for raw, level in zip(raws, entries, strict=True)])


def _level_sums(raw: Tensor, entries: LevelEntries, options: LossOptions) -> Tensor:
    kind, places = entries.cells[:, 4:5], entries.cells[:, 5]
    target_box, anchor_wh, weight = entries.boxes[:, :4], entries.boxes[:, 4:6], entries.boxes[:, 6]
    picked, objectness = rows_and_objectness(raw, places)
    centre = picked[:, :2].sigmoid() * 2 - 0.5
    size = (picked[:, 2:4].sigmoid() * 2) ** 2 * anchor_wh
    ciou = paired_iou(torch.cat((centre, size), 1), target_box, "ciou")
    # Where several objects claim one cell the largest counts, which does not depend on the order of entries: it is
    # the same on every device and for every split. (An entry of weight 0 changes nothing: no target is below 0.)
    target_obj = torch.zeros_like(objectness)
    target_obj.scatter_reduce_(0, places, ciou.detach().clamp(min=0).to(objectness.dtype) * weight, "amax")
    obj_sum = _cross_entropy(objectness, target_obj, options.obj_pw, options.fl_gamma)
    if options.nc > 1:
        smooth = options.label_smoothing / 2
        target_cls = torch.full_like(picked[:, 5:], smooth).scatter_(1, kind, 1 - smooth)
        cls_sum = _cross_entropy(picked[:, 5:], target_cls, options.cls_pw, options.fl_gamma, weight[:, None])
    else:
        cls_sum = picked[:, 5:].sum() * 0
    return torch.stack((((1 - ciou) * weight).sum(), obj_sum, cls_sum))


def _cross_entropy(
    logits: Tensor, targets: Tensor, positive_weight: float, gamma: float, weight: Tensor | None = None
) -> Tensor:
    """Return the summed binary cross-entropy; with gamma > 0 the focal form of Lin et al. 2017, eq. 5, alpha 0.25."""
    positive = None if positive_weight == 1.0 else logits.new_full((1,), positive_weight)
    if gamma <= 0:
        return F.binary_cross_entropy_with_logits(logits, targets, weight, pos_weight=positive, reduction="sum")
    loss = F.binary_cross_entropy_with_logits(logits, targets, weight, pos_weight=positive, reduction="none")
    probability = logits.sigmoid()
    right = targets * probability + (1 - targets) * (1 - probability)
    alpha = targets * 0.25 + (1 - targets) * 0.75
    return (loss * alpha * (1 - right) ** gamma).sum()


def term_means(sums: Tensor, entry_counts: Tensor, cell_counts: Tensor, options: LossOptions) -> Tensor:
    """Return the three gained terms [3] (box, objectness, class), as the reference prints them.

    Args:
        sums: [L, 3] sums over all images that the counts cover.
        entry_counts: [L] float, matched cells per level; a level without any adds 0.
        cell_counts: [L] float, B·A·H·W per level.
        options: gains and balance.
    """
    entries = entry_counts.clamp(min=1)
    balance = _on_device(options.balance, sums.device, sums.dtype)
    box = (sums[:, 0] / entries).sum() * options.box
    obj = (sums[:, 1] / cell_counts.clamp(min=1) * balance).sum() * options.obj
    cls = (sums[:, 2] / (entries * options.nc)).sum() * options.cls
    return torch.stack((box, obj, cls))


@lru_cache(maxsize=16)
def _on_device(numbers: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return numbers as a tensor, made once: a copy from the host in every step would make it wait for the device."""
    with torch.inference_mode(False):  # what is made in an evaluation must serve training as well
        return torch.tensor(numbers, device=device, dtype=dtype)
