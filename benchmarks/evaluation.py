"""Prints what validation costs: COCO's evaluator against pycocotools, and the stages of `val` for a weight file.

    python benchmarks/evaluation.py --weights yolov5n.pt --data coco128.yaml

The evaluator is measured on 5 000 generated images with 100 detections each; loading the labels is left out on both
sides. Stages are processor time of one process that does everything itself, so other work on the machine counts
little. The whole command against the reference: side_by_side.py --parts validation.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from arms import markdown

from accel_yolo import console
from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data.eval_loader import EvalBatch, EvalLoader, eval_shapes
from accel_yolo.data.index import build_index
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.data.workers import Workers
from accel_yolo.engine.evaluate import images_per_pass
from accel_yolo.engine.matched import DETECTION_COLUMNS, matched_rows
from accel_yolo.inference.network import inference_copy
from accel_yolo.metrics.average_precision import AveragePrecision, average_precision
from accel_yolo.metrics.coco import coco_metrics, ground_truth_from_labels
from accel_yolo.metrics.nms import NmsOptions, suppressed
from accel_yolo.models.decoding import confident_rows
from accel_yolo.models.detector import Detector
from accel_yolo.models.network_input import network_input
from accel_yolo.models.weights import detector_from_weights, find_weights, load_weights

IMAGES, DETECTIONS, LABELS, CLASSES, SIDE_PX = 5000, 100, 7, 80, 640


def scene(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels [m, 6] (image, class, corners in px) and detections [n, 7] (image, left, top, w, h, score, class).

    Seven labels in each image; of its hundred detections, half lie around its labels, most with their class.
    """
    rng = np.random.default_rng(seed)
    count = IMAGES * LABELS
    size = SIDE_PX * np.exp(rng.uniform(np.log(0.02), np.log(0.7), (count, 2)))
    low = rng.uniform(0, SIDE_PX - size)
    label = rng.integers(0, CLASSES, count)
    labels = np.column_stack((np.repeat(np.arange(IMAGES), LABELS), label, low, low + size))

    image = np.repeat(np.arange(IMAGES), DETECTIONS)
    source = image * LABELS + rng.integers(0, LABELS, len(image))
    around = rng.random(len(image)) < 0.5
    corner = np.where(around[:, None], low[source] + rng.normal(0, 0.1, (len(image), 2)) * size[source],
                      rng.uniform(0, SIDE_PX / 2, (len(image), 2)))  # fmt: skip
    shape = size[source] * np.exp(rng.normal(0, 0.15, (len(image), 2)))
    right = around & (rng.random(len(image)) < 0.8)
    kind = np.where(right, label[source], rng.integers(0, CLASSES, len(image)))
    return labels, np.column_stack((image, corner, shape, rng.random(len(image)).round(5), kind))


def evaluator() -> str:
    """Return the table of the two evaluators; stops where a number differs."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    labels, detections = scene()
    sizes = np.full((IMAGES, 2), SIDE_PX)
    truth = ground_truth_from_labels(np.arange(IMAGES), sizes, labels, {n: str(n) for n in range(CLASSES)})
    theirs: Any = COCO()  # its hints are stricter than it is
    theirs.dataset = truth.dataset

    def by_pycocotools() -> list[float]:
        evaluation = COCOeval(theirs, theirs.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return evaluation.stats.tolist()

    with contextlib.redirect_stdout(io.StringIO()):
        theirs.createIndex()
        expected, slow_s = timed(by_pycocotools)
        found, fast_s = min(
            (timed(lambda: vars(coco_metrics(truth, detections))) for _ in range(3)), key=lambda x: x[1]
        )
    if list(found.values()) != expected:
        sys.exit(f"error: the numbers differ: {list(found.values())} and {expected}")
    rows = [["pycocotools", slow_s, 1.0], ["accel_yolo.metrics.coco", fast_s, slow_s / fast_s]]
    title = f"COCO evaluator, {IMAGES} images with {DETECTIONS} detections, all 12 numbers equal"
    return markdown(title, ["evaluator", "processor s", "times as fast"], rows)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what `work` returned and the seconds of processor time it took."""
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


class Stages:
    """Processor seconds of named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        started = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - started


def stages(arguments: argparse.Namespace) -> str:
    """Return the table of the stages of an evaluation on the CPU."""
    torch.set_num_threads(arguments.threads)
    spec = load_data_spec(arguments.data, ("val",))
    index = build_index(spec, "val", single_cls=False, bad_data="fail", workers=0)
    model = inference_copy(detector_from_weights(load_weights(find_weights(arguments.weights))))
    shapes = eval_shapes(index.sizes_hw, arguments.imgsz, max(32, *model.strides))
    batch = images_per_pass(arguments.batch, torch.device("cpu"))
    batches = EvalLoader(index, arguments.imgsz, shapes, batch, Workers()).share(0, 1)
    stage, tables = Stages(), []
    while True:
        with stage("reading"):
            one = next(batches, None)
        if one is None:
            break
        tables.append(detections_of(model, one, index, stage))
    with stage("metrics"):
        ap = metrics_of(np.concatenate(tables), index)
    total = sum(stage.seconds.values())
    rows = [[name, s / len(index) * 1e3, f"{s / total:.1%}"] for name, s in stage.seconds.items()]
    rows.append(["all", total / len(index) * 1e3, ""])
    numbers = f"P {ap.mean_precision:.4f}, R {ap.mean_recall:.4f}, mAP50 {ap.map50:.5f}, mAP50-95 {ap.map50_95:.5f}"
    title = f"Stages of validation, {arguments.imgsz} px, {batch} images a pass, {arguments.threads} threads: {numbers}"
    return markdown(title, ["stage", "processor ms per image", "share"], rows)


@torch.inference_mode()
def detections_of(model: Detector, batch: EvalBatch, index: SplitIndex, stage: Stages) -> np.ndarray:
    """Return the matched detections of a batch."""
    options = NmsOptions(0.001, 0.6, multi_label=True)
    with stage("float"):
        images = network_input(batch.images, torch.float32)
    with stage("network"):
        raws = model(images)
    with stage("decoding"):
        rows, place = confident_rows(model, raws, options.conf_thres)
    with stage("suppression"):
        kept = suppressed(rows, place, len(batch.ids), options)
    with stage("matching"):
        return matched_rows(kept, batch, index, single_cls=False)


def metrics_of(table: np.ndarray, index: SplitIndex) -> AveragePrecision:
    """Return the metrics of matched detections."""
    table = table[np.argsort(table[:, 0], kind="stable")]
    return average_precision(table[:, DETECTION_COLUMNS:] > 0.5, table[:, 5], table[:, 6], index.labels[:, 0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="", help="yolov5n.pt; without it only the evaluator is measured")
    parser.add_argument("--data", default="coco128")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--no-evaluator", action="store_true", help="leave out the evaluator (pycocotools takes a minute)"
    )
    arguments = parser.parse_args()
    console.quiet()
    if not arguments.no_evaluator:
        print(evaluator(), flush=True)
    if arguments.weights:
        print(stages(arguments), flush=True)


if __name__ == "__main__":
    main()
