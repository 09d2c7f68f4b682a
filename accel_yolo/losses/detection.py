"""The detection loss as sums, and the one division that turns global sums into the loss of the whole batch."""

# B images, A anchors, L levels, H W grid, C classes, E entries

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from accel_yolo.boxes import paired_iou
from accel_yolo.losses.assignment import LevelEntries

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
        return LossOptions(
            box=self.box * layers,
            obj=self.obj * (imgsz / 640) ** 2 * layers,
            cls=self.cls * self.nc / 80 * layers,
            cls_pw=self.cls_pw,
            obj_pw=self.obj_pw,
            fl_gamma=self.fl_gamma,
            label_smoothing=self.label_smoothing,
            nc=self.nc,
            levels=self.levels,
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
    rows = [_level_sums(_at_least_float32(raw), level, options) for raw, level in zip(raws, entries, strict=True)]
    return torch.stack(rows)


def _at_least_float32(raw: Tensor) -> Tensor:
    return raw.to(torch.promote_types(raw.dtype, torch.float32))


def _level_sums(raw: Tensor, entries: LevelEntries, options: LossOptions) -> Tensor:
    image, anchor, row, column, kind = entries.cells.unbind(1)
    picked = raw[image, anchor, row, column]
    target_box, anchor_wh = entries.boxes[:, :4], entries.boxes[:, 4:]
    centre = picked[:, :2].sigmoid() * 2 - 0.5
    size = (picked[:, 2:4].sigmoid() * 2) ** 2 * anchor_wh
    ciou = paired_iou(torch.cat((centre, size), 1), target_box, "ciou")
    objectness = raw[..., 4]
    target_obj = _objectness_targets(objectness, entries.cells, ciou)
    obj_sum = _cross_entropy(objectness, target_obj, options.obj_pw, options.fl_gamma)
    if options.nc > 1:
        smooth = options.label_smoothing / 2
        target_cls = torch.full_like(picked[:, 5:], smooth)
        target_cls.scatter_(1, kind[:, None], 1 - smooth)
        cls_sum = _cross_entropy(picked[:, 5:], target_cls, options.cls_pw, options.fl_gamma)
    else:
        cls_sum = picked[:, 5:].sum() * 0
    return torch.stack(((1 - ciou).sum(), obj_sum, cls_sum))


def _objectness_targets(objectness: Tensor, cells: Tensor, ciou: Tensor) -> Tensor:
    """Return [B, A, H, W]: the CIoU of each matched cell, the largest where several targets claim one cell.

    The maximum does not depend on the order of entries, so it is the same on every device and for every split.
    """
    _, anchors, height, width = objectness.shape
    flat = ((cells[:, 0] * anchors + cells[:, 1]) * height + cells[:, 2]) * width + cells[:, 3]
    targets = objectness.new_zeros(objectness.shape)
    targets.view(-1).scatter_reduce_(0, flat, ciou.detach().clamp(min=0), "amax")
    return targets


def _cross_entropy(logits: Tensor, targets: Tensor, positive_weight: float, gamma: float) -> Tensor:
    """Return the summed binary cross-entropy; with gamma > 0 the focal form of Lin et al. 2017, eq. 5, alpha 0.25."""
    weight = None if positive_weight == 1.0 else logits.new_tensor([positive_weight])
    if gamma <= 0:
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight, reduction="sum")
    loss = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight, reduction="none")
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
    balance = sums.new_tensor(options.balance)
    box = (sums[:, 0] / entries).sum() * options.box
    obj = (sums[:, 1] / cell_counts.clamp(min=1) * balance).sum() * options.obj
    cls = (sums[:, 2] / (entries * options.nc)).sum() * options.cls
    return torch.stack((box, obj, cls))
