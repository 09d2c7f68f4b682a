"""Evaluation by all processes: each image once, the same numbers on every process and for every process count."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accel_yolo import console
from accel_yolo.boxes import clip_xyxy, cxcywh_to_xyxy
from accel_yolo.data.eval_loader import EvalBatch, EvalLoader
from accel_yolo.engine.trainable import network_input
from accel_yolo.engine.world import World
from accel_yolo.losses.assignment import assign, entry_counts
from accel_yolo.losses.detection import LossOptions, detection_sums, term_means
from accel_yolo.metrics.average_precision import AveragePrecision, average_precision
from accel_yolo.metrics.matching import IOU_THRESHOLDS, match
from accel_yolo.metrics.nms import NmsOptions, non_max_suppression
from accel_yolo.models.detector import Detector

# Columns of the gathered table: image, box, confidence, class, then one column for each IoU threshold.
DETECTION_COLUMNS = 7


@dataclass(frozen=True)
class EvalOptions:
    """How to evaluate.

    Attributes:
        nms: thresholds; confidence 0.001 and IoU 0.6 by custom.
        loss: options of the validation loss, None leaves it out.
        anchor_t: anchor threshold of the loss.
        single_cls: every detection counts as class 0.
    """

    nms: NmsOptions
    loss: LossOptions | None = None
    anchor_t: float = 4.0
    single_cls: bool = False


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation, equal on all processes.

    Attributes:
        ap: precision, recall and average precision per class.
        images: images evaluated.
        losses: (box, objectness, class) over the whole set; zeros without a loss.
        detections: [n, 7] float64: image, x1, y1, x2, y2 (px of the original image), confidence, class.
        speed_ms: milliseconds per image of preparation, network, and NMS, on average over processes.
        merge_s: seconds of this process from its last batch to the metrics, waiting for the others included.
    """

    ap: AveragePrecision
    images: int
    losses: tuple[float, float, float]
    detections: np.ndarray
    speed_ms: dict[str, float]
    merge_s: float


@torch.inference_mode()
def evaluate(detector: Detector, loader: EvalLoader, options: EvalOptions, world: World) -> Evaluation:
    """Return the metrics of `detector` on a split; the detector itself is left as it is.

    Args:
        detector: any mode; a fused float32 copy in evaluation mode is used.
        loader: the split.
        options: see `EvalOptions`.
        world: all processes take part.
    """
    model = copy.deepcopy(detector).eval().fuse().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    levels = len(model.strides)
    tables, loss_rows, clock = [], [np.zeros((0, 1 + 5 * levels))], _Clock(world.device)
    mine = range(world.rank, len(loader.batches), world.size)
    batches = console.progress(loader.share(world.rank, world.size), len(mine), "val")
    for number, batch in zip(mine, batches, strict=True):
        with clock.stage("prepare"):
            images = network_input(batch.images.to(world.device, non_blocking=True), model.anchors.dtype)
        with clock.stage("network"):
            raws = model(images)
            decoded = model.decode(raws)
        if options.loss is not None:
            sums, counts = _loss_sums(model, raws, batch, options)
            loss_rows.append(np.concatenate(([number], sums.flatten(), counts.flatten()))[None])
        with clock.stage("nms"):
            kept = non_max_suppression(decoded, options.nms)
        tables += [_match_image(rows.cpu(), place, batch, loader, options) for place, rows in enumerate(kept)]
        clock.images += len(batch.ids)
    worked_until = time.perf_counter()
    table = np.concatenate(tables) if tables else np.zeros((0, DETECTION_COLUMNS + len(IOU_THRESHOLDS)))
    merged = world.gather_rows(table)
    # By image, so that the order does not depend on who evaluated what; within an image by confidence.
    merged = merged[np.argsort(merged[:, 0], kind="stable")]
    losses = _losses(world.gather_rows(np.concatenate(loss_rows)), options)
    index = loader.index
    classes = np.zeros(len(index.labels)) if options.single_cls else index.labels[:, 0]
    correct = merged[:, DETECTION_COLUMNS:] > 0.5
    ap = average_precision(correct, merged[:, 5], merged[:, 6], classes)
    return Evaluation(
        ap=ap,
        images=len(index),
        losses=losses,
        detections=merged[:, :DETECTION_COLUMNS],
        speed_ms=clock.per_image_ms(world),
        merge_s=time.perf_counter() - worked_until,
    )


def _loss_sums(model: Detector, raws: list[Tensor], batch: EvalBatch, options: EvalOptions) -> tuple[Tensor, Tensor]:
    """Return the loss sums [L, 3] and the counts [2, L] of entries and cells of one batch, on the host."""
    grids = [(raw.shape[2], raw.shape[3]) for raw in raws]
    entries = assign(batch.targets, model.anchors.cpu().numpy(), grids, options.anchor_t)
    assert options.loss is not None
    sums = detection_sums(raws, [level.to(raws[0].device) for level in entries], options.loss)
    counts = torch.tensor([entry_counts(entries), [raw[..., 0].numel() for raw in raws]], dtype=torch.float64)
    return sums.cpu().double(), counts


def _match_image(rows: Tensor, place: int, batch: EvalBatch, loader: EvalLoader, options: EvalOptions) -> np.ndarray:
    """Return [k, 17]: the detections of one image in its own pixels, and at which thresholds they are correct."""
    image = batch.ids[place]
    height, width = loader.index.sizes_hw[image].tolist()
    pad, gain = (torch.from_numpy(np.tile(values[place], 2)) for values in (batch.pads_xy, batch.gains_xy))
    boxes = clip_xyxy((rows[:, :4].double() - pad) / gain, (height, width)).float()
    classes = torch.zeros_like(rows[:, 5]) if options.single_cls else rows[:, 5]
    detections = torch.cat((boxes, rows[:, 4:5], classes[:, None]), 1)
    labels = torch.from_numpy(np.array(loader.index.labels_of(image), dtype=np.float32))
    corners = cxcywh_to_xyxy(labels[:, 1:5]) * torch.tensor([width, height, width, height])
    label_classes = torch.zeros_like(labels[:, :1]) if options.single_cls else labels[:, :1]
    correct = match(detections, torch.cat((label_classes, corners), 1))
    columns = (torch.full((len(rows), 1), image), detections, correct)
    return torch.cat([column.double() for column in columns], 1).numpy()


def _losses(parts: np.ndarray, options: EvalOptions) -> tuple[float, float, float]:
    """Return the three losses over the whole set.

    Args:
        parts: [n, 1 + 5 L] of all processes: number of the batch, its flat sums and counts.
        options: see `EvalOptions`.
    """
    if options.loss is None:
        return 0.0, 0.0, 0.0
    levels = options.loss.levels
    # Added in the order of the batches, so that the last digit does not depend on who evaluated what.
    total = torch.from_numpy(parts[np.argsort(parts[:, 0])][:, 1:].cumsum(0)[-1])
    sums, counts = total[: 3 * levels].view(levels, 3), total[3 * levels :].view(2, levels)
    box, obj, cls = term_means(sums, counts[0], counts[1], options.loss).tolist()
    return box, obj, cls


class _Clock:
    """Seconds per stage; on an accelerator a stage ends when its work is done."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.images = device, 0
        self.seconds = {"prepare": 0.0, "network": 0.0, "nms": 0.0}
        self._stage, self._started = "", 0.0

    def stage(self, name: str) -> _Clock:
        self._stage = name
        return self

    def __enter__(self) -> None:
        self._started = self._now()

    def __exit__(self, *_: object) -> None:
        self.seconds[self._stage] += self._now() - self._started

    def _now(self) -> float:
        if self.device.type != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter()

    def per_image_ms(self, world: World) -> dict[str, float]:
        rows = world.gather_rows(np.array([[*self.seconds.values(), self.images]]))
        total = rows.sum(0)
        return {name: total[i] / max(total[-1], 1) * 1e3 for i, name in enumerate(self.seconds)}
