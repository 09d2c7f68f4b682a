"""The confusion matrix as a picture and as tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from accel_yolo.files import write_text_atomic
from accel_yolo.metrics.confusion import Confusion
from accel_yolo.reports.figures import save_figure, short, take_literally

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BACKGROUND = "background"
LEAST_SHARE = 0.005
"""Cells with less stay blank."""
MOST_WRITTEN, MOST_COUNTED, MOST_NAMED = 29, 12, 99
"""Up to so many classes cells show their share, and the count below it; axes show names."""


def write_confusion(folder: Path, confusion: Confusion, names: Mapping[int, str]) -> None:
    """Write `confusion_matrix.csv` (counts) and `confusion_matrix_normalized.csv` (shares of each column).

    Rows are predicted classes, columns true ones.

    Raises:
        EnvironmentFault: a file cannot be written.
    """
    titles = [*_names(confusion, names), BACKGROUND]
    counts = [list(map(str, row)) for row in confusion.counts.tolist()]
    shares = [[f"{value:.4g}" for value in row] for row in confusion.shares.tolist()]
    for stem, cells in (("confusion_matrix", counts), ("confusion_matrix_normalized", shares)):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["predicted \\ true", *titles])
        writer.writerows([title, *row] for title, row in zip(titles, cells, strict=True))
        write_text_atomic(folder / f"{stem}.csv", text.getvalue())


def plot_confusion(path: Path, confusion: Confusion, names: Mapping[int, str]) -> None:
    """Write the matrix as PNG: each column in shares of its true class.

    Classes that were neither labelled nor predicted are left out.

    Args:
        path: the picture.
        confusion: the counts.
        names: class number to name.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    from matplotlib.figure import Figure

    classes = len(confusion.counts) - 1
    occurring = confusion.counts.sum(axis=0) + confusion.counts.sum(axis=1) > 0
    shown = [*np.flatnonzero(occurring[:classes]).tolist(), classes]
    cells = np.ix_(shown, shown)
    shares, counts = confusion.shares[cells], confusion.counts[cells]
    side = min(max(3.6 + 0.42 * len(shown), 5.5), 13)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(np.where(shares < LEAST_SHARE, np.nan, shares), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, ax=axes, shrink=0.6, fraction=0.04, pad=0.02, label="share of the true class")
    every_name = _names(confusion, names)
    _name_axes(axes, [*(every_name[number] for number in shown[:-1]), BACKGROUND])
    if len(shown) - 1 <= MOST_WRITTEN:
        _write_cells(axes, shares, counts)
    save_figure(figure, path)


def _names(confusion: Confusion, names: Mapping[int, str]) -> list[str]:
    return [names.get(number, str(number)) for number in range(len(confusion.counts) - 1)]


def _name_axes(axes: Axes, names: Sequence[str]) -> None:
    axes.set(xlabel="true", ylabel="predicted", title="confidence above 0.25, IoU above 0.45")
    if len(names) - 1 > MOST_NAMED:
        return
    size = 10 if len(names) <= 16 else 8 if len(names) <= MOST_WRITTEN else 6.5
    places = range(len(names))
    axes.set_xticks(places, [short(name) for name in names], rotation=90, fontsize=size)
    axes.set_yticks(places, [short(name) for name in names], fontsize=size)
    take_literally([*axes.get_xticklabels(), *axes.get_yticklabels()])
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#d8d8d8", linewidth=0.4)
    axes.tick_params(which="minor", length=0)


def _write_cells(axes: Axes, shares: np.ndarray, counts: np.ndarray) -> None:
    with_counts = len(shares) - 1 <= MOST_COUNTED
    size = 10 if with_counts else 7
    for row, column in zip(*np.nonzero(shares >= LEAST_SHARE), strict=True):
        text = f"{shares[row, column]:.2f}" + (f"\n{counts[row, column]}" if with_counts else "")
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)
