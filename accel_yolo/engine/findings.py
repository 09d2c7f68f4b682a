"""What an evaluation tells beyond its metrics: which sizes are hard, what is taken for what, which images go wrong."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_yolo import console
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.engine.coco_report import coco_numbers
from accel_yolo.engine.evaluate import Evaluation
from accel_yolo.engine.reporting import metrics_json, per_class_csv
from accel_yolo.engine.sharing import share_json
from accel_yolo.engine.world import World
from accel_yolo.errors import escaped
from accel_yolo.files import write_text_atomic
from accel_yolo.inference.output.encoding import write_image
from accel_yolo.inference.output.mistake_sheet import mistake_sheet
from accel_yolo.metrics.coco import CocoMetrics
from accel_yolo.metrics.confusion import Confusion, confusion
from accel_yolo.metrics.mistakes import Mistakes, mistakes, worst_images
from accel_yolo.reports.confusion_plot import plot_confusion, write_confusion
from accel_yolo.reports.curves import plot_curves, write_curves

SMALL_PX2, MEDIUM_PX2 = 32**2, 96**2
"""COCO's limits between small, medium and large, in px² of the original image."""
MOST_CONFUSED = 20
WORST = 16
WORST_COLUMNS = ("image", "score", "missed", "false", "misnamed", "missed_classes", "false_classes")
PICTURES = ("PR_curve.png", "F1_curve.png", "P_curve.png", "R_curve.png", "confusion_matrix.png", "worst.jpg")


CURVES = ("PR_curve.csv", "F1_curve.csv", "P_curve.csv", "R_curve.csv")
TABLES = ("per_class.csv", "worst.csv", "confusion_matrix.csv", "confusion_matrix_normalized.csv", *CURVES)


@dataclass(frozen=True)
class Findings:
    """An evaluation with its split; equal on all processes.

    Attributes:
        result: the evaluation.
        index: the images and labels.
        names: class number to name.
    """

    result: Evaluation
    index: SplitIndex
    names: dict[int, str]

    @cached_property
    def labels(self) -> NDArray[np.float64]:
        """All labels, [m, 6]: image, class, x1, y1, x2, y2 in px."""
        return self.index.labels_px()

    @cached_property
    def confusion(self) -> Confusion:
        """What was taken for what."""
        classes = max([*self.names, *self.result.ap.classes.tolist()], default=-1) + 1
        return confusion(self.result.detections, self.labels, len(self.index), classes)

    def worst(self, most: int) -> list[Mistakes]:
        """Return the images with the most mistakes at the confidence of the best F1, the worst first."""
        best = self.result.ap.best_confidence
        return worst_images(mistakes(self.result.detections, self.labels, len(self.index), best), most)

    def metrics(self) -> dict[str, Any]:
        """Return the content of `metrics.json`."""
        pairs = self.confusion.most_confused(MOST_CONFUSED)
        named = [{"true": self.name_of(t), "predicted": self.name_of(p), "count": n} for t, p, n in pairs]
        counts = self.confusion.counts
        return {
            **metrics_json(self.result, self.index, self.names),
            "best_confidence": self.result.ap.best_confidence,
            "by_size": self._by_size(),
            "confusion": {
                "missed": int(counts[-1].sum()),
                "false": int(counts[:, -1].sum()),
                "misnamed": named,
            },
        }

    @cached_property
    def coco(self) -> CocoMetrics:
        """COCO's twelve numbers, the labels being the truth."""
        return coco_numbers(self.result, self.index, self.names)

    def _by_size(self) -> dict[str, dict[str, float | int | None]]:
        numbers = self.coco
        areas = (self.labels[:, 4:] - self.labels[:, 2:4]).prod(axis=1)
        small, large = areas < SMALL_PX2, areas > MEDIUM_PX2
        rows = {
            "all": (len(areas), numbers.ap, numbers.ar100),
            "small": (int(small.sum()), numbers.ap_small, numbers.ar_small),
            "medium": (int((~small & ~large).sum()), numbers.ap_medium, numbers.ar_medium),
            "large": (int(large.sum()), numbers.ap_large, numbers.ar_large),
        }
        # COCO's tool says -1 where there is nothing to find.
        return {
            size: {"instances": n, "ap": ap if ap >= 0 else None, "ar": ar if ar >= 0 else None}
            for size, (n, ap, ar) in rows.items()
        }

    def name_of(self, number: int) -> str:
        """Return the name of a class; its number where it has none."""
        return self.names.get(number, str(number))


def shared_metrics(found: Findings, world: World) -> dict[str, Any]:
    """Return `found.metrics()` on all processes; only the leader computes them, as COCO's evaluation takes a while."""
    with world.together():
        metrics = found.metrics() if world.is_leader else None
    return share_json(metrics, world)


def write_findings(folder: Path, found: Findings, metrics: dict[str, Any], *, worst: int, pictures: bool) -> None:
    """Write tables, curves, the confusion matrix and the worst images into a run folder; those of an older run go.

    Args:
        folder: exists.
        found: what to write.
        metrics: `found.metrics()`.
        worst: how many images are listed and shown.
        pictures: also make pictures.

    Raises:
        EnvironmentFault: a file cannot be written.
    """
    for name in PICTURES:
        (folder / name).unlink(missing_ok=True)
    write_text_atomic(folder / "per_class.csv", per_class_csv(metrics))
    write_curves(folder, found.result.ap, found.names)
    write_confusion(folder, found.confusion, found.names)
    images = found.worst(worst)
    write_text_atomic(folder / "worst.csv", _worst_table(found, images))
    if not pictures:
        return
    plot_curves(folder, found.result.ap, found.names)
    plot_confusion(folder / "confusion_matrix.png", found.confusion, found.names)
    if images:
        titles = [escaped(Path(found.index.paths[image.pair.image]).name) for image in images]
        write_image(folder / "worst.jpg", mistake_sheet(found.index, images, titles, found.names))


def print_sizes(metrics: dict[str, Any]) -> None:
    """Print what is found of small, medium and large objects."""
    meaning = {"all": "", "small": "under 32² px", "medium": "up to 96² px", "large": "above"}
    rows = [
        (
            size,
            meaning[size],
            row["instances"],
            *("-" if row[key] is None else f"{row[key]:.3f}" for key in ("ap", "ar")),
        )
        for size, row in metrics["by_size"].items()
    ]
    console.table(rows, ("Size", "", "Instances", "COCO AP", "COCO AR"))


def _worst_table(found: Findings, images: list[Mistakes]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(WORST_COLUMNS)
    for each in images:
        missed = each.pair.labels[~each.found, 0]
        false = each.pair.detections[each.label_of < 0, 5]
        reasons = [_counted(labels, found) for labels in (missed, false)]
        row = (f"{each.score:.3f}", each.missed, each.false, each.confused, *reasons)
        writer.writerow([escaped(found.index.paths[each.pair.image]), *row])
    return text.getvalue()


def _counted(labels: NDArray[np.float64], found: Findings) -> str:
    """Return "3 person, 1 dog", the most first."""
    counts = Counter(labels.astype(int).tolist()).most_common()
    return ", ".join(f"{count} {found.name_of(number)}" for number, count in counts)
