"""What the loss reads of a head output, as one step of the graph.

Indexing twice (rows of matched cells, objectness of all cells) would build two gradients of the size of the output in
the backward pass and add them. Here it is one: filled with zeros once, written where something was read.
"""

# B images, A anchors, H W grid, no = 5 + classes outputs, E entries, N = B·H·W·A cells

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

OBJECTNESS = 4
"""Its place among the outputs of an anchor."""


def rows_and_objectness(raw: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the loss needs of one level, in float32 or wider whatever the head computed in.

    Args:
        raw: [B, A, H, W, no] float, head output.
        places: [E] int64, cells counted in the order image, row, column, anchor: that of channels-last memory.

    Returns:
        The rows [E, no] of those cells, and the objectness logits [N] of all cells in the same order.
    """
    return _RowsAndObjectness.apply(raw, places)  # pyright: ignore[reportReturnType]


class _RowsAndObjectness(torch.autograd.Function):
    """See `rows_and_objectness`. The gradient has the type of the output, and lies channels last in memory."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(places)
        ctx.shape, ctx.dtype = raw.shape, raw.dtype
        wide = torch.promote_types(raw.dtype, torch.float32)
        # Only a view where the convolution worked channels last, as it does in training.
        cells = raw.permute(0, 2, 3, 1, 4).reshape(-1, raw.shape[4])
        return cells.index_select(0, places).to(wide), cells[:, OBJECTNESS].to(wide, copy=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        of_rows, of_objectness = gradients
        (places,) = ctx.saved_tensors
        batch, anchors, height, width, outputs = ctx.shape
        gradient = of_rows.new_zeros((batch * height * width * anchors, outputs), dtype=ctx.dtype)
        gradient[:, OBJECTNESS] = of_objectness
        # Several objects may claim one cell: their gradients add up.
        gradient.index_add_(0, places, of_rows.to(ctx.dtype))
        return gradient.view(batch, height, width, anchors, outputs).permute(0, 3, 1, 2, 4), None
