"""The detector: layers of a specification, run in order, ending in raw head outputs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from accel_yolo.errors import ConfigError
from accel_yolo.models.blocks import BN_EPS, BN_MOMENTUM, Conv
from accel_yolo.models.graph import build_graph
from accel_yolo.models.heads import Detect, decode_level
from accel_yolo.models.spec import AnchorsPx, anchors_per_level, anchors_px, checked_spec
from accel_yolo.models.strides import measured_strides


class Detector(nn.Module):
    """A YOLOv5-family detector. State-dict keys are those of the published weights.

    Attributes:
        model: the layers; `model.<i>` in state-dict keys.
        names: class number -> name, 0 to nc - 1.
        nc: number of classes.
        strides: input pixels per cell of each output level, measured.
        spec: the model YAML in use, with `nc` and `anchors` (px) filled in.
    """

    def __init__(self, spec: Mapping[str, Any], names: Mapping[int, str], where: str = "model") -> None:
        """Build from a specification; the global torch generator is used (see `zoo.build_detector`).

        Args:
            spec: content of a model YAML.
            names: class number -> name.
            where: name of the specification, for messages.

        Raises:
            ConfigError: the specification is wrong; names file, layer and value.
        """
        super().__init__()
        self.names = _checked_names(names)
        self.nc = len(self.names)
        self.spec = copy.deepcopy({**checked_spec(spec, where), "nc": self.nc})
        graph = build_graph(self.spec, self.nc, anchors_per_level(self.spec["anchors"]), where)
        self.model = nn.Sequential(*graph.layers)
        self.sources = graph.sources
        self.kept = frozenset(s for index, reads in enumerate(self.sources) for s in reads if s != index - 1)
        self.strides = measured_strides(self, self.model, self.spec.get("ch", 3), where)
        self.head.shift_biases(self.strides)
        self._write_anchors(anchors_px(self.spec["anchors"], self.strides))
        self._set_normalisation()

    @property
    def head(self) -> Detect:
        """The last layer."""
        head = self.model[-1]
        assert isinstance(head, Detect)
        return head

    @property
    def anchors(self) -> Tensor:
        """[L, A, 2] float: widths and heights in grid units; a buffer of the state dict."""
        return self.head.anchors

    @property
    def anchors_px(self) -> Tensor:
        """[L, A, 2] float: widths and heights in network-input pixels."""
        return self.anchors * self.anchors.new_tensor(self.strides).view(-1, 1, 1)

    @property
    def anchors_are_placeholder(self) -> bool:
        """Whether the specification gave only a number of anchors and none have been fitted yet."""
        return isinstance(self.spec["anchors"], int)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the raw head outputs, in training and in evaluation mode alike.

        Args:
            images: [B, 3, H, W] float, RGB in 0..1; H and W multiples of the largest stride.

        Returns:
            One [B, A, h, w, 5 + nc] float tensor per level, finest first; a view, not contiguous.
        """
        kept: dict[int, Tensor] = {}
        current: Any = images
        for index, (layer, reads) in enumerate(zip(self.model, self.sources, strict=True)):
            inputs = [current if source == index - 1 else kept[source] for source in reads]
            current = layer(inputs if getattr(layer, "takes_list", False) else inputs[0])
            if index in self.kept:
                kept[index] = current
        return current

    def decode(self, raws: Sequence[Tensor]) -> Tensor:
        """Return boxes and probabilities of raw head outputs.

        Args:
            raws: what `forward` returned.

        Returns:
            [B, N, 5 + nc] float: cx, cy, w, h in network-input pixels, objectness and class probabilities in
            (0, 1), not multiplied; levels finest first, within a level anchor, row, column.
        """
        sizes_px = self.anchors_px
        levels = zip(raws, sizes_px, self.strides, strict=True)
        return torch.cat([decode_level(raw, level_px, stride) for raw, level_px, stride in levels], dim=1)

    def set_anchors_px(self, anchors: Tensor | AnchorsPx | Sequence[Sequence[Sequence[float]]]) -> None:
        """Replace the anchors; `spec["anchors"]` follows.

        Args:
            anchors: [L, A, 2] widths and heights in network-input pixels, levels in the order of `strides`.

        Raises:
            ConfigError: another shape, or sizes that are not positive and finite.
        """
        values = torch.as_tensor(anchors, dtype=torch.float64, device="cpu")
        if values.shape != self.anchors.shape:
            raise ConfigError(
                "anchors have the wrong shape", "", list(values.shape), f"needs {list(self.anchors.shape)}"
            )
        if not bool((values.isfinite() & (values > 0)).all()):
            raise ConfigError("anchors must be positive sizes in pixels", "", values.flatten().tolist())
        self._write_anchors(values.tolist())
        self.spec["anchors"] = values.flatten(1).tolist()

    def fuse(self) -> Detector:
        """Return self with every normalisation folded into its convolution, in place; for inference only."""
        for module in self.modules():
            if isinstance(module, Conv):
                module.fuse()
        return self

    def _write_anchors(self, levels_px: Sequence[Sequence[Sequence[float]]]) -> None:
        grid = [[(w / s, h / s) for w, h in level] for level, s in zip(levels_px, self.strides, strict=True)]
        with torch.no_grad():
            # A detector may be built without storage (meta device): then there is nothing to write to.
            self.anchors.copy_(torch.tensor(grid, dtype=torch.float64, device="cpu").to(self.anchors.device))

    def _set_normalisation(self) -> None:
        """Give every BatchNorm the family's constants, and the statistics of one pass over a black image.

        Published models are born with running variance 0.9 and one batch counted, because their strides were
        measured in training mode; the same start is kept so that training from scratch is comparable.
        """
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = BN_EPS, BN_MOMENTUM
                assert module.running_var is not None and module.num_batches_tracked is not None
                module.running_var.fill_(0.9)
                module.num_batches_tracked.fill_(1)


def _checked_names(names: Mapping[int, str]) -> dict[int, str]:
    if not names or sorted(names) != list(range(len(names))):
        raise ConfigError("class names must be numbered from 0 without gaps", "names", sorted(names)[:10])
    return {number: str(names[number]) for number in range(len(names))}
