"""Is an exported model the same detector? Its own runtime and torch see the same images."""

# B images, N predictions per image, C classes

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from accel_yolo.export.exported import ExportedDetector
from accel_yolo.export.request import ExportRequest
from accel_yolo.inference.runtimes.description import NmsInGraph
from accel_yolo.inference.runtimes.exported import ExportedNetwork
from accel_yolo.letterbox import Letterbox
from accel_yolo.metrics.nms import NmsOptions, suppressed
from accel_yolo.models.network_input import network_input

COMPARED_OBJECTNESS, COMPARED_CONFIDENCE = 0.001, 0.25
"""Predictions that torch is less sure of are not compared, if it is of some: of the objectness that `val` looks at, in
half of the confidence that `predict` looks at."""


@dataclass(frozen=True)
class Tolerance:
    """How far an export may be from torch.

    Attributes:
        box_px: largest difference of a box coordinate, px of the network input.
        score: largest difference of objectness, class probability or confidence.
        lost: with NMS in the graph, share of detections that only one of the two has; a box that overlaps another one
            by just the threshold falls to either side.
    """

    box_px: float
    score: float
    lost: float


_NEAR_PX = 10.0
"""Detections of one class that are nearer than this are the same."""
FULL = Tolerance(0.5, 1e-3, 0.01)


def tolerance_of(request: ExportRequest) -> Tolerance:
    """Return what is allowed: in half, box sides are exact to a share of the image and not to a part of a pixel."""
    return Tolerance(max(request.hw) / 64, 0.05, 0.05) if request.half else FULL


@dataclass(frozen=True)
class Difference:
    """How far an export is from torch.

    Attributes:
        box_px, score: the largest differences.
        compared: predictions (with NMS in the graph: detections) that were compared.
        lost: detections that only one of the two has; 0 without NMS in the graph.
    """

    box_px: float = 0.0
    score: float = 0.0
    compared: int = 0
    lost: int = 0

    def __add__(self, other: Difference) -> Difference:
        """Return the difference over both."""
        largest = max(self.box_px, other.box_px), max(self.score, other.score)
        return Difference(*largest, self.compared + other.compared, self.lost + other.lost)

    def within(self, allowed: Tolerance) -> bool:
        """Return whether this is within a tolerance; NaN is not."""
        few = self.lost <= allowed.lost * max(self.compared + self.lost, 1)
        return self.box_px <= allowed.box_px and self.score <= allowed.score and few


@torch.inference_mode()
def compared(request: ExportRequest, network: ExportedNetwork, images: Sequence[NDArray[np.uint8]]) -> Difference:
    """Return how far an exported model is from torch in float32.

    Args:
        request: what was exported.
        network: the exported model, in its own runtime.
        images: uint8 [H, W, 3] RGB; letterboxed to the input size, and where the model takes any size also without
            padding, in one batch of several.
    """
    torch_network = ExportedDetector(request.detector)
    nms, total = request.nms, Difference()
    for batch in _batches(request, network, images):
        wanted = torch_network(batch)
        inputs = batch.to(network.device, network.input_dtype)
        got = network(inputs).to(wanted.device)
        total += of_detections(wanted, got, nms) if nms else _of_predictions(wanted, got, half=request.half)
    return total


def _batches(request: ExportRequest, network: ExportedNetwork, images: Sequence[NDArray[np.uint8]]) -> Iterator[Tensor]:
    """Yield batches [B, 3, H, W] float32: full ones, else one image each and also pairs of another shape.

    In a batch of fixed size each place holds an image, the first ones again where they do not fill the last batch: a
    graph that mixes up the places of a batch is found out.
    """
    size = network.description.batch or 1
    for start in range(0, len(images), size):
        yield _input(request, [images[(start + place) % len(images)] for place in range(size)], request.hw)
    if network.fixed_hw is None:
        height, width = request.hw
        other = (max(height - request.stride, request.stride), width + request.stride)
        for place in range(0, len(images), 2):
            yield _input(request, images[place : place + 2], other)


def _input(request: ExportRequest, images: Sequence[NDArray[np.uint8]], hw: tuple[int, int]) -> Tensor:
    boxes = [Letterbox.plan((image.shape[0], image.shape[1]), hw) for image in images]
    pixels = np.stack([box.apply(image) for box, image in zip(boxes, images, strict=True)])
    return network_input(torch.from_numpy(pixels).to(request.device), torch.float32)


def _of_predictions(wanted: Tensor, got: Tensor, *, half: bool) -> Difference:
    """Return the difference of two tables [B, N, 5 + C], row by row."""
    if got.shape != wanted.shape:
        return Difference(float("inf"), float("inf"))
    sureness = wanted[..., 4] * wanted[..., 5:].amax(dim=-1) if half else wanted[..., 4]
    # Of a network that is sure of nothing, the predictions it is least unsure of.
    hundredth = float(sureness.flatten().topk(min(100, sureness.numel())).values[-1])
    rows = sureness >= min(COMPARED_CONFIDENCE if half else COMPARED_OBJECTNESS, hundredth)
    # A comparison with NaN holds for nothing, and Python's max would pass over it.
    gap = (got[rows] - wanted[rows]).abs().nan_to_num(nan=float("inf"))
    return Difference(float(gap[:, :4].max()), float(gap[:, 4:].max()), int(rows.sum()))


def of_detections(wanted: Tensor, got: Tensor, nms: NmsInGraph) -> Difference:
    """Return the difference of what torch keeps of predictions [B, N, 5 + C] from the rows [B, K, 6] of a graph."""
    total = Difference()
    for mine, theirs in zip(kept_by_torch(wanted, nms), got, strict=True):
        theirs = theirs[theirs[:, 4] > 0]
        total += _of_image(mine, theirs)
    return total


def kept_by_torch(predictions: Tensor, nms: NmsInGraph) -> list[Tensor]:
    """Return what NMS in a graph should keep of predictions [B, N, 5 + C]: B tensors [k, 6], computed by torch."""
    options = NmsOptions(nms.conf_thres, nms.iou_thres, agnostic=nms.agnostic, max_det=predictions.shape[1])
    image, row = torch.nonzero(predictions[..., 4] > nms.conf_thres, as_tuple=True)
    kept = suppressed(predictions[image, row].float(), image, len(predictions), options)
    return [_most_of_each(rows, nms)[: nms.max_det] for rows in kept]


def _most_of_each(rows: Tensor, nms: NmsInGraph) -> Tensor:
    """Return the rows [k, 6] (most confident first) that are among the best of their class."""
    if nms.agnostic:
        return rows[: nms.per_class]
    place = [int((rows[:number, 5] == rows[number, 5]).sum()) for number in range(len(rows))]
    return rows[torch.tensor(place, dtype=torch.int64, device=rows.device) < nms.per_class]


def _of_image(mine: Tensor, theirs: Tensor) -> Difference:
    """Return the difference of two lists of detections [k, 6], each of one matched with the nearest of the other."""
    if not len(mine) or not len(theirs):
        return Difference(lost=len(mine) + len(theirs))
    apart = (mine[:, None, :4] - theirs[None, :, :4]).abs().amax(dim=2)
    apart[mine[:, None, 5] != theirs[None, :, 5]] = float("inf")
    nearest, place = apart.min(dim=1)
    # A detection of which the other one has no equal is not a large difference but one that was lost.
    matched = nearest < _NEAR_PX
    lost = int((~matched).sum()) + len(theirs) - len(place[matched].unique())
    if not bool(matched.any()):
        return Difference(lost=lost)
    scores = (mine[matched, 4] - theirs[place[matched], 4]).abs().nan_to_num(nan=float("inf"))
    return Difference(float(nearest[matched].max()), float(scores.max()), int(matched.sum()), lost)
