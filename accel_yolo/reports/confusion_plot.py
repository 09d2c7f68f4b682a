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
    from matplotlib.figure import Figure

BACKGROUND = "background"
LEAST_SHARE = 0.005
"""Cells with less stay blank."""
MOST_WRITTEN, MOST_COUNTED, MOST_NAMED = 29, 12, 99
"""Up to so many classes cells show their share, and the count below it; axes show names."""

_CELL_IN, _LEAST_IN, _MOST_IN = 0.42, 2.4, 10.0
_LETTER, _POINTS_PER_IN = 0.62, 72
"""Width of a letter in sizes of the font; points of an inch."""


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
    """Write `confusion_figure` as PNG. Raises EnvironmentFault where that is impossible."""
    save_figure(confusion_figure(confusion, names), path)


def confusion_figure(confusion: Confusion, names: Mapping[int, str]) -> Figure:
    """Return the picture of the matrix: each column in shares of its true class.

    Classes that were neither labelled nor predicted are left out, unless there are too many to name: the axes then
    show their numbers.

    Args:
        confusion: the counts.
        names: class number to name.
    """
    classes = len(confusion.counts) - 1
    occurring = confusion.counts.sum(axis=0) + confusion.counts.sum(axis=1) > 0
    nameable = occurring[:classes].sum() <= MOST_NAMED
    shown = [*np.flatnonzero(occurring[:classes] | (not nameable)).tolist(), classes]
    cells = np.ix_(shown, shown)
    shares, counts = confusion.shares[cells], confusion.counts[cells]
    every_name = _names(confusion, names)
    titles = [*(short(every_name[number]) for number in shown[:-1]), BACKGROUND]
    axes, bar = _square_axes(titles)
    figure = axes.get_figure(root=True)
    assert figure is not None
    picture = axes.imshow(np.where(shares < LEAST_SHARE, np.nan, shares), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, cax=bar, label="share of the true class")
    _name_axes(axes, titles)
    if len(shown) - 1 <= MOST_WRITTEN:
        _write_cells(axes, shares, counts)
    return figure


def _names(confusion: Confusion, names: Mapping[int, str]) -> list[str]:
    return [names.get(number, str(number)) for number in range(len(confusion.counts) - 1)]


def _square_axes(titles: Sequence[str]) -> tuple[Axes, Axes]:
    """Return axes for a square of cells and for the bar of colours beside it, in a figure with room for the names."""
    from matplotlib.figure import Figure

    # A layout that is worked out takes as long as the drawing, and cuts off what stands beside a square.
    side = min(max(_CELL_IN * len(titles), _LEAST_IN), _MOST_IN)
    names = max(map(len, titles)) * _font_size(titles) * _LETTER / _POINTS_PER_IN if _has_names(titles) else 0.3
    left, low = names + 0.5, names + 0.45
    width, height = left + side + 1.1, low + side + 0.45
    figure = Figure(figsize=(width, height))
    square = figure.add_axes((left / width, low / height, side / width, side / height))
    bar = figure.add_axes(((left + side + 0.2) / width, (low + side / 4) / height, 0.15 / width, side / 2 / height))
    return square, bar


def _has_names(titles: Sequence[str]) -> bool:
    return len(titles) - 1 <= MOST_NAMED


def _font_size(titles: Sequence[str]) -> float:
    return 10 if len(titles) <= 16 else 8 if len(titles) - 1 <= MOST_WRITTEN else 6.5


def _name_axes(axes: Axes, names: Sequence[str]) -> None:
    axes.set(xlabel="true", ylabel="predicted", title="confidence above 0.25, IoU above 0.45")
    if not _has_names(names):
        return
    size = _font_size(names)
    places = range(len(names))
    axes.set_xticks(places, names, rotation=90, fontsize=size)
    axes.set_yticks(places, names, fontsize=size)
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
