"""Evaluations as text, tables and plain data."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np

from accel_yolo import console
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.engine.evaluate import Evaluation

PER_CLASS = ("class", "name", "images", "instances", "precision", "recall", "map50", "map50_95")
HEADER = ("Class", "Images", "Instances", "P", "R", "mAP50", "mAP50-95")


def metrics_json(result: Evaluation, index: SplitIndex, names: dict[int, str]) -> dict[str, Any]:
    """Return the content of `metrics.json`."""
    ap = result.ap
    images = _images_with(index)
    per_class = [
        {
            "class": int(number),
            "name": names.get(int(number), str(number)),
            "images": images.get(int(number), 0),
            "instances": int(ap.labels[row]),
            "precision": float(ap.precision[row]),
            "recall": float(ap.recall[row]),
            "map50": float(ap.ap[row, 0]),
            "map50_95": float(ap.ap[row].mean()),
        }
        for row, number in enumerate(ap.classes)
    ]
    return {
        "images": result.images,
        "instances": len(index.labels),
        "precision": ap.mean_precision,
        "recall": ap.mean_recall,
        "map50": ap.map50,
        "map50_95": ap.map50_95,
        "losses": dict(zip(("box", "obj", "cls"), result.losses, strict=True)),
        "per_class": per_class,
        "speed_ms": result.speed_ms,
    }


def per_class_csv(metrics: dict[str, Any]) -> str:
    """Return the table of classes as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, PER_CLASS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(metrics["per_class"])
    return text.getvalue()


def _images_with(index: SplitIndex) -> dict[int, int]:
    """Return in how many images each class occurs."""
    image_of = np.repeat(np.arange(len(index)), np.diff(index.label_starts))
    pairs = np.unique(np.column_stack((image_of, index.labels[:, 0].astype(np.int64))), axis=0)
    classes, counts = np.unique(pairs[:, 1], return_counts=True)
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))


def print_table(metrics: dict[str, Any], *, per_class: bool) -> None:
    """Print the overall row, and one row for each class if asked for."""
    rows = [("all", metrics["images"], metrics["instances"], *_numbers(metrics))]
    if per_class and len(metrics["per_class"]) > 1:
        rows += [
            (entry["name"], entry["images"], entry["instances"], *_numbers(entry)) for entry in metrics["per_class"]
        ]
    console.table(rows, HEADER)


def print_classes(result: Evaluation, names: dict[int, str]) -> None:
    """Print one row for each class that has labels, without images: in the middle of a run only numbers matter."""
    ap = result.ap
    numbers = np.column_stack((ap.precision, ap.recall, ap.ap[:, 0], ap.ap.mean(1)))
    rows = [
        (f"  {names.get(int(number), str(number))}", int(labels), *(f"{value:.3f}" for value in row))
        for number, labels, row in zip(ap.classes, ap.labels, numbers, strict=True)
    ]
    console.table(rows, ("  Class", *HEADER[2:]))


def print_speed(metrics: dict[str, Any]) -> None:
    """Print the milliseconds per image of each stage."""
    stages = ", ".join(f"{value:.1f} ms {name}" for name, value in metrics["speed_ms"].items())
    console.say(f"Speed per image: {stages}")


def _numbers(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"{entry[key]:.3f}" for key in ("precision", "recall", "map50", "map50_95"))
