"""Which cells learn which objects: a pure function of targets, anchors and grid sizes, computed on the host.

Nothing here needs predictions, so the number of entries of a batch is known before the forward pass starts: that is
what lets the loss be divided by *global* counts without interrupting the device.
"""

# T targets, A anchors, L levels, E entries (matched cells), H W grid size

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accel_yolo.devices import moved

# Cell offsets of the five slots: own cell, then the left, upper, right and lower neighbour (x, y).
_SLOT_SHIFT = np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [-0.5, 0.0], [0.0, -0.5]], dtype=np.float32)

LEAST_TABLE = 64
"""Rows of the smallest table on a GPU."""


@dataclass(frozen=True)
class LevelEntries:
    """The matched cells of one level.

    Attributes:
        cells: [E, 6] int64: image in the batch, anchor, row, column, class, and the place of the cell when cells are
            counted in the order image, row, column, anchor.
        boxes: [E, 7] float32: x, y relative to the cell's corner, width, height, anchor width, anchor height, all in
            grid units, and a weight: 1, or 0 for an entry that only fills the table up.
    """

    cells: Tensor
    boxes: Tensor

    def to(self, device: torch.device) -> LevelEntries:
        """Return the entries on `device`, without waiting for the copy; on a GPU `filled_up`, so that sizes repeat."""
        entries = self.filled_up() if device.type == "cuda" else self
        return LevelEntries(moved(entries.cells, device), moved(entries.boxes, device))

    def filled_up(self) -> LevelEntries:
        """Return the entries, repeated with weight 0 up to the next power of two.

        The sizes of all tensors of the loss then repeat from step to step. Repeats of real entries spread over many
        cells, where gradients that are added to one cell would wait for each other.
        """
        count = len(self.cells)
        size = max(LEAST_TABLE, 1 << (count - 1).bit_length()) if count else LEAST_TABLE
        if not count:
            return LevelEntries(torch.zeros(size, 6, dtype=torch.int64), _no_boxes(size))
        rows = torch.arange(size) % count
        boxes = self.boxes[rows]
        boxes[count:, 6] = 0
        return LevelEntries(self.cells[rows], boxes)


def _no_boxes(size: int) -> Tensor:
    """Return boxes and anchors of one cell, with weight 0: nothing that is computed from them overflows."""
    boxes = torch.ones(size, 7)
    boxes[:, 6] = 0
    return boxes


def assign(
    targets: np.ndarray, anchors_grid: np.ndarray, grids_hw: Sequence[tuple[int, int]], anchor_t: float
) -> list[LevelEntries]:
    """Return the entries of every level, in slot-major, then anchor-major, then target order.

    Args:
        targets: [T, 6] float32: image in the batch, class, cx, cy, w, h (0..1 of the network input).
        anchors_grid: [L, A, 2] float32, width and height in grid units of each level.
        grids_hw: the L grid sizes (height, width).
        anchor_t: an anchor matches when both side ratios are below this, in either direction.
    """
    return [_assign_level(targets, anchors, hw, anchor_t) for anchors, hw in zip(anchors_grid, grids_hw, strict=True)]


def _assign_level(targets: np.ndarray, anchors: np.ndarray, hw: tuple[int, int], anchor_t: float) -> LevelEntries:
    height, width = hw
    boxes = targets[:, 2:6].astype(np.float32) * np.array([width, height, width, height], dtype=np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = boxes[None, :, 2:] / anchors.astype(np.float32)[:, None]
        worst = np.maximum(ratio, 1 / ratio).max(-1)
    anchor_index, target_index = np.nonzero(worst < anchor_t)  # a box of zero size gives inf or NaN: no match
    centre = boxes[target_index, :2]
    slot_index, match_index = np.nonzero(_active_slots(centre, np.array([width, height], dtype=np.float32)))
    centre = centre[match_index]
    # Truncate first, clamp after: the target offset below is relative to the clamped cell.
    cell = (centre - _SLOT_SHIFT[slot_index]).astype(np.int64)
    cell = np.clip(cell, 0, np.array([width - 1, height - 1]))
    target_index, anchor_index = target_index[match_index], anchor_index[match_index]
    image_and_class = targets[target_index, :2].astype(np.int64)
    image, kind = image_and_class[:, 0], image_and_class[:, 1]
    place = ((image * height + cell[:, 1]) * width + cell[:, 0]) * len(anchors) + anchor_index
    cells = np.stack((image, anchor_index, cell[:, 1], cell[:, 0], kind, place), 1)
    ones = np.ones((len(cells), 1), dtype=np.float32)
    packed = np.concatenate((centre - cell, boxes[target_index, 2:], anchors[anchor_index], ones), 1)
    return LevelEntries(torch.from_numpy(cells), torch.from_numpy(packed.astype(np.float32)))


def _active_slots(centre: np.ndarray, grid_wh: np.ndarray) -> np.ndarray:
    """Return [5, E] bool: the own cell always, a neighbour when the centre lies in the half towards it."""
    from_far = grid_wh - centre
    near = (centre % 1 < 0.5) & (centre > 1)
    far = (from_far % 1 < 0.5) & (from_far > 1)
    return np.stack((np.ones(len(centre), dtype=bool), near[:, 0], near[:, 1], far[:, 0], far[:, 1]))


def entry_counts(entries: Sequence[LevelEntries]) -> list[int]:
    """Return the number of entries of each level."""
    return [len(level.cells) for level in entries]
