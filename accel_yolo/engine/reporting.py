"""Evaluations as text, tables and plain data."""

from __future__ import annotations

from typing import Any

from accel_yolo import console
from accel_yolo.data.index import SplitIndex
from accel_yolo.engine.evaluate import Evaluation

HEADER = ("Class", "Images", "Instances", "P", "R", "mAP50", "mAP50-95")


def metrics_json(result: Evaluation, index: SplitIndex, names: dict[int, str]) -> dict[str, Any]:
    """Return the content of `metrics.json`."""
    ap = result.ap
    per_class = [
        {
            "class": int(number),
            "name": names.get(int(number), str(number)),
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


def print_table(metrics: dict[str, Any], *, per_class: bool) -> None:
    """Print the overall row, and one row for each class if asked for."""
    rows = [("all", metrics["images"], metrics["instances"], *_numbers(metrics))]
    if per_class and len(metrics["per_class"]) > 1:
        rows += [(entry["name"], "", entry["instances"], *_numbers(entry)) for entry in metrics["per_class"]]
    console.table(rows, HEADER)


def print_speed(metrics: dict[str, Any]) -> None:
    """Print the milliseconds per image of each stage."""
    stages = ", ".join(f"{value:.1f} ms {name}" for name, value in metrics["speed_ms"].items())
    console.say(f"Speed per image: {stages}")


def _numbers(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"{entry[key]:.3f}" for key in ("precision", "recall", "map50", "map50_95"))
