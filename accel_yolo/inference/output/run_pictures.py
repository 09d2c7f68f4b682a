"""The pictures that a training and a validation leave: each function draws some and returns their files.

They need no torch, so that a process of their own can draw while the run goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from accel_yolo.data.keyed_plans import Key
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.files import write_bytes_atomic
from accel_yolo.inference.output.batch_sheet import ShownSamples, label_sheet, prediction_sheet, train_sheet
from accel_yolo.inference.output.encoding import encoded
from accel_yolo.reports.data_plot import plot_correlogram, plot_split
from accel_yolo.reports.figures import JPEG_QUALITY
from accel_yolo.reports.results_plot import PICTURE, plot_results

SHEETS = 3
"""Batches of a training, and of a validation, that are shown."""
LABELS, CORRELOGRAM = "labels.jpg", "labels_correlogram.jpg"
TRAIN_BATCHES = tuple(f"train_batch{number}.jpg" for number in range(SHEETS))
VAL_LABELS = tuple(f"val_batch{number}_labels.jpg" for number in range(SHEETS))
VAL_PREDICTIONS = tuple(f"val_batch{number}_pred.jpg" for number in range(SHEETS))
OF_VALIDATION = (*VAL_LABELS, *VAL_PREDICTIONS)
PICTURES = (LABELS, CORRELOGRAM, *TRAIN_BATCHES, *OF_VALIDATION, PICTURE)


def clear_pictures(folder: Path, names: Sequence[str] = PICTURES) -> None:
    """Remove pictures of an earlier run in this folder: none of them may pass for one of this run."""
    for name in names:
        (folder / name).unlink(missing_ok=True)


def draw_labels(folder: Path, title: str, names: Sequence[str], labels: np.ndarray, wh_px: np.ndarray) -> list[Path]:
    """Draw what the training split holds; for the arguments see `data_plot.split_figure`."""
    plot_split(folder / LABELS, title, names, labels, wh_px)
    plot_correlogram(folder / CORRELOGRAM, title, labels)
    return [folder / LABELS, folder / CORRELOGRAM]


def draw_train_batches(
    folder: Path, samples: ShownSamples, batches: Sequence[Sequence[Key]], names: Mapping[int, str]
) -> list[Path]:
    """Draw training batches: the samples of some keys each, rendered anew."""
    sheets = (train_sheet(samples, keys, names) for keys in batches)
    return [_written(folder / name, sheet) for name, sheet in zip(TRAIN_BATCHES, sheets, strict=False)]


def draw_val_labels(folder: Path, parts: Sequence[SplitIndex], names: Mapping[int, str]) -> list[Path]:
    """Draw the labels of validation images: those of each index on a sheet."""
    sheets = (label_sheet(part, names) for part in parts)
    return [_written(folder / name, sheet) for name, sheet in zip(VAL_LABELS, sheets, strict=False)]


def draw_val_predictions(
    folder: Path, parts: Sequence[SplitIndex], detections: Sequence[np.ndarray], names: Mapping[int, str]
) -> list[Path]:
    """Draw what was found in the same images; the detections of each index are numbered by its images."""
    sheets = (prediction_sheet(part, found, names) for part, found in zip(parts, detections, strict=True))
    return [_written(folder / name, sheet) for name, sheet in zip(VAL_PREDICTIONS, sheets, strict=False)]


def draw_results(folder: Path) -> list[Path]:
    """Draw the course of the training."""
    return plot_results(folder)


def _written(path: Path, picture: np.ndarray) -> Path:
    """Write a picture whole or not at all: it may be looked at while it is drawn anew."""
    write_bytes_atomic(path, encoded(picture, path.suffix, JPEG_QUALITY))
    return path
