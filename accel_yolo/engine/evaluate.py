"""Evaluation by all processes: each image once, the same numbers on every process and for every process count."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from accel_yolo import console, waypoints
from accel_yolo.data.eval_loader import EvalBatch, EvalLoader
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.engine.interruption import Interruption
from accel_yolo.engine.kernels import sizes_vary
from accel_yolo.engine.matched import COLUMNS, DETECTION_COLUMNS, label_candidates, matched_rows
from accel_yolo.engine.world import World
from accel_yolo.inference.lanes import in_lanes, lanes_of
from accel_yolo.inference.network import Candidates, Network, TorchNetwork
from accel_yolo.losses.assignment import assign, entry_counts
from accel_yolo.losses.detection import LossOptions, detection_sums, term_means
from accel_yolo.metrics.average_precision import AveragePrecision, average_precision
from accel_yolo.metrics.nms import NmsOptions
from accel_yolo.models.detector import Detector
from accel_yolo.models.network_input import network_input

CPU_PASS_IMAGES = 4
"""Images of one pass on a CPU. Few stay in the caches: 1.5 times as fast as 32 (yolov5n, 640 px, one thread). Not a
matter of cores or threads, because all processes must form the same batches."""

STAGES = ("prepare", "network", "nms")


@dataclass(frozen=True)
class EvalOptions:
    """How to evaluate.

    Attributes:
        nms: thresholds; confidence 0.001 and IoU 0.6 by custom.
        loss: options of the validation loss, None leaves it out.
        anchor_t: anchor threshold of the loss.
        single_cls: every detection counts as class 0.
        hybrid: the labels are put among the network's candidates; metrics then mean nothing.
    """

    nms: NmsOptions
    loss: LossOptions | None = None
    anchor_t: float = 4.0
    single_cls: bool = False
    hybrid: bool = False


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
        total_s: seconds of this process for the whole evaluation.
    """

    ap: AveragePrecision
    images: int
    losses: tuple[float, float, float]
    detections: np.ndarray
    speed_ms: dict[str, float]
    merge_s: float
    total_s: float


@torch.inference_mode()
@sizes_vary()
def evaluate(
    detector: Detector | Network,
    loader: EvalLoader,
    options: EvalOptions,
    world: World,
    interruption: Interruption | None = None,
) -> Evaluation:
    """Return the metrics of a detector on a split; the detector itself is left as it is.

    Args:
        detector: a network, or a detector in any mode, of which a fused float32 copy in evaluation mode is used.
        loader: the split.
        options: see `EvalOptions`.
        world: all processes take part.
        interruption: what may stop it.

    Raises:
        StopAsked: all processes have agreed to stop.
    """
    started = time.perf_counter()
    network = detector if isinstance(detector, Network) else TorchNetwork(detector)
    index = loader.index
    parts = np.zeros((0, 1 + 5 * len(network.strides)))
    tables, loss_rows, seconds = [np.zeros((0, COLUMNS))], [parts], np.zeros(len(STAGES))
    mine = range(world.rank, len(loader.batches), world.size)
    lanes, _ = lanes_of(world.device) if network.parallel else (1, 0)
    batches = _kept_batches(loader, world, interruption, several=lanes > 1)
    work = partial(_evaluated, network=network, index=index, options=options)
    parts_of = in_lanes(work, batches, world.device) if lanes > 1 else map(work, batches)
    for number, part in zip(mine, parts_of, strict=True):
        tables.append(part.table)
        seconds += part.seconds
        if part.losses is not None:
            loss_rows.append(np.concatenate(([number], part.losses))[None])
    worked_until = time.perf_counter()
    waypoints.reach("merging")
    merged = world.gather_rows(np.concatenate(tables))
    # By image, so that the order does not depend on who evaluated what; within an image by confidence.
    merged = merged[np.argsort(merged[:, 0], kind="stable")]
    losses = _losses(world.gather_rows(np.concatenate(loss_rows)), options)
    classes = np.zeros(len(index.labels)) if options.single_cls else index.labels[:, 0]
    correct = merged[:, DETECTION_COLUMNS:] > 0.5
    ap = average_precision(correct, merged[:, 5], merged[:, 6], classes)
    return Evaluation(
        ap=ap,
        images=len(index),
        losses=losses,
        detections=merged[:, :DETECTION_COLUMNS],
        speed_ms=_per_image_ms(seconds / lanes, len(index), world),
        merge_s=time.perf_counter() - worked_until,
        total_s=time.perf_counter() - started,
    )


def images_per_pass(batch: int, device: torch.device) -> int:
    """Return how many images to evaluate at once on `device`, at most `batch`."""
    return min(batch, CPU_PASS_IMAGES) if device.type == "cpu" else batch


def _kept_batches(
    loader: EvalLoader, world: World, interruption: Interruption | None, *, several: bool
) -> Iterator[EvalBatch]:
    """Yield the batches of this process under a bar; where several are held at once, each with images of its own."""
    images = sum(len(batch) for batch in loader.batches[world.rank :: world.size])
    rounds = interruption.rounds(-(-len(loader.batches) // world.size)) if interruption is not None else None
    with console.progress(None, images, "validating") as bar:
        for batch in loader.share(world.rank, world.size):
            waypoints.reach("validation")
            if rounds is not None:
                rounds.turn()
            yield replace(batch, images=batch.images.clone()) if several else batch
            bar.update(len(batch.ids))
    if rounds is not None:
        rounds.end()


@dataclass(frozen=True)
class _Part:
    """What comes of one batch: matched detections, loss sums and counts, seconds of each stage."""

    table: np.ndarray
    losses: np.ndarray | None
    seconds: np.ndarray


def _evaluated(batch: EvalBatch, network: Network, index: SplitIndex, options: EvalOptions) -> _Part:
    device = network.device
    times = [_now(device)]
    images = network_input(batch.images.to(device, non_blocking=True), network.input_dtype)
    times.append(_now(device))
    output = network(images)
    times.append(_now(device))
    given = _given(batch, network, index) if options.hybrid else None
    kept = network.found(output, len(batch.ids), options.nms, given)
    times.append(_now(device))
    table = matched_rows(kept, batch, index, single_cls=options.single_cls)
    losses = _loss_sums(network, output, batch, options) if options.loss is not None else None
    return _Part(table, losses, np.diff(times))


def _given(batch: EvalBatch, network: Network, index: SplitIndex) -> Candidates:
    rows, image = label_candidates(batch, index, len(network.names))
    return rows.to(network.device), image.to(network.device)


def _loss_sums(network: Network, raws: list[Tensor], batch: EvalBatch, options: EvalOptions) -> np.ndarray:
    """Return the flat loss sums [L, 3] and counts [2, L] of entries and cells of one batch, on the host."""
    grids = [(raw.shape[2], raw.shape[3]) for raw in raws]
    assert isinstance(network, TorchNetwork) and options.loss is not None
    entries = assign(batch.targets, network.detector.anchors.cpu().numpy(), grids, options.anchor_t)
    sums = detection_sums(raws, [level.to(raws[0].device) for level in entries], options.loss)
    counts = [*entry_counts(entries), *(raw[..., 0].numel() for raw in raws)]
    return np.concatenate((sums.cpu().double().numpy().flatten(), np.array(counts, dtype=np.float64)))


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


def _now(device: torch.device) -> float:
    """Return the clock in seconds; on an accelerator when all its work is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter()


def _per_image_ms(seconds: np.ndarray, images: int, world: World) -> dict[str, float]:
    """Return milliseconds per image of each stage: what all processes took, by the images of all."""
    total = world.gather_rows(seconds[None]).sum(0)
    return {name: value / max(images, 1) * 1e3 for name, value in zip(STAGES, total.tolist(), strict=True)}
