"""What a split holds, as pictures: objects of each class, their outlines, their sizes, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from accel_yolo.reports.figures import BLUE, name_axes, save_figure, short, take_literally

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMED = 100
"""With more classes than this every second, third, ... is named."""
MOST_COUNTED = 80
"""Up to so many classes their number of objects stands on their bars."""
MOST_OUTLINES = 1000
LABEL_AXES = ("x", "y", "width", "height")
_LEVEL_LETTERS, _LEAST_BARS = 110, 6
"""Letters that fit under the bars side by side; a bar is no wider than a share of so many."""
_WIDTH_IN, _UPPER_IN, _LOWER_IN = 14.0, 3.3, 3.7
_LETTER, _POINTS_PER_IN = 0.62, 72
"""Width of a letter in sizes of the font; points of an inch."""
_DPI, _BINS = 110, 40


def plot_split(path: Path, title: str, names: Sequence[str], labels: np.ndarray, wh_px: np.ndarray) -> None:
    """Write `split_figure` as PNG or JPEG. Raises EnvironmentFault where that is impossible."""
    save_figure(split_figure(title, names, labels, wh_px), path, _DPI)


def plot_correlogram(path: Path, title: str, labels: np.ndarray) -> None:
    """Write `correlogram_figure` as PNG or JPEG. Raises EnvironmentFault where that is impossible."""
    save_figure(correlogram_figure(title, labels), path, _DPI)


def split_figure(title: str, names: Sequence[str], labels: np.ndarray, wh_px: np.ndarray) -> Figure:
    """Return the picture of a split: classes, outlines, centres, sizes.

    Args:
        title: over the picture.
        names: of the classes.
        labels: [m, 5] class, cx, cy, w, h (0..1).
        wh_px: [m, 2] width and height of each object, px.
    """
    from matplotlib.figure import Figure

    shown, level, size = _class_names(names)
    room = 0.3 if level else 0.1 + max(map(len, shown), default=0) * size * _LETTER / _POINTS_PER_IN
    height = _UPPER_IN + _LOWER_IN + room + 1.8
    figure = Figure(figsize=(_WIDTH_IN, height))
    take_literally([figure.suptitle(title, y=1 - 0.18 / height, va="center")])

    def axes_at(left: float, low: float, width: float, high: float) -> Axes:
        return figure.add_axes((left / _WIDTH_IN, low / height, width / _WIDTH_IN, high / height))

    counts = np.bincount(labels[:, 0].astype(np.int64), minlength=len(names))
    _draw_classes(axes_at(0.8, height - _UPPER_IN - 0.68, _WIDTH_IN - 1, _UPPER_IN), names, counts)
    lefts = (0.9, (_WIDTH_IN - _LOWER_IN) / 2 + 0.25, _WIDTH_IN - _LOWER_IN - 0.35)
    outlines, places, sizes = (axes_at(left, 0.6, _LOWER_IN, _LOWER_IN) for left in lefts)
    _draw_outlines(outlines, labels)
    places.hist2d(labels[:, 1], labels[:, 2], bins=_BINS, range=((0, 1), (0, 1)), cmap="Blues")
    places.invert_yaxis()
    name_axes(places, "centres", "x, share of the image", "y")
    sizes.hist2d(wh_px[:, 0], wh_px[:, 1], bins=50, cmap="Blues", norm="log" if len(wh_px) else "linear")
    name_axes(sizes, "sizes", "width, px", "height, px")
    return figure


def correlogram_figure(title: str, labels: np.ndarray) -> Figure:
    """Return how x, y, width and height go together, two by two, and how each is spread.

    Args:
        title: over the picture.
        labels: [m, 5] class, cx, cy, w, h (0..1).
    """
    from matplotlib.figure import Figure

    count = len(LABEL_AXES)
    figure = Figure(figsize=(9, 9))
    take_literally([figure.suptitle(title, y=0.98)])
    places = {"left": 0.075, "right": 0.94, "bottom": 0.065, "top": 0.94, "hspace": 0.09, "wspace": 0.09}
    grid = figure.subplots(count, count, gridspec_kw=places)
    for row in range(count):
        for column in range(count):
            axes: Axes = grid[row, column]
            if column > row:
                axes.remove()
                continue
            axes.set(xlim=(0, 1), xticks=(0, 0.5, 1), xticklabels=("0", "0.5", "1"))
            axes.tick_params(labelbottom=row == count - 1)
            name_axes(
                axes,
                xlabel=LABEL_AXES[column] if row == count - 1 else "",
                ylabel=LABEL_AXES[row] if column == 0 and row else "",
            )
            if row == column:
                _draw_spread(axes, labels[:, 1 + row])
            elif column < row:
                _draw_pair(axes, labels[:, 1 + column], labels[:, 1 + row])
                axes.tick_params(labelleft=column == 0)
    return figure


def _draw_spread(axes: Axes, values: np.ndarray) -> None:
    axes.hist(values, bins=_BINS, range=(0, 1), color=BLUE)
    axes.yaxis.tick_right()
    axes.tick_params(axis="y", labelsize=7)


def _draw_pair(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    axes.hist2d(x, y, bins=_BINS, range=((0, 1), (0, 1)), cmap="Blues", norm="log" if len(x) else "linear")
    axes.set(ylim=(0, 1), yticks=(0, 0.5, 1), yticklabels=("0", "0.5", "1"))


def _draw_classes(axes: Axes, names: Sequence[str], counts: np.ndarray) -> None:
    order: list[int] = np.argsort(-counts, kind="stable").tolist()
    shown, level, size = _class_names([names[number] for number in order])
    bars = axes.bar(range(len(names)), [int(counts[number]) for number in order], color=BLUE, width=0.85)
    room = max(_LEAST_BARS - len(names), 0) / 2
    axes.set_xlim(-0.6 - room, len(names) - 0.4 + room)
    name_axes(axes, "classes", "", "objects")
    step = -(-len(names) // MOST_NAMED)
    axes.set_xticks(range(0, len(names), step), shown[::step], rotation=0 if level else 90, fontsize=size)
    take_literally(axes.get_xticklabels())
    if counts.max(initial=0) > 50 * max(int(np.median(counts)), 1):
        axes.set_yscale("log")
    if len(names) <= MOST_COUNTED:
        upright = len(names) > 20
        axes.bar_label(bars, fontsize=size - 1, rotation=90 if upright else 0, padding=2)
        axes.margins(y=0.14 if upright else 0.08)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _class_names(names: Sequence[str]) -> tuple[list[str], bool, float]:
    """Return what stands under the bars, whether it lies level, and the size of its letters, points."""
    shown = [short(name) for name in names]
    level = max(map(len, shown), default=0) * len(shown) <= _LEVEL_LETTERS
    return shown, level, 10 if len(shown) <= 40 else 8 if len(shown) <= 80 else 6.5


def _draw_outlines(axes: Axes, labels: np.ndarray) -> None:
    """Draw the outlines of objects around one centre: evenly taken, because neighbours in a data set are alike."""
    from matplotlib.collections import LineCollection

    chosen = np.arange(min(len(labels), MOST_OUTLINES)) * len(labels) // max(min(len(labels), MOST_OUTLINES), 1)
    half = labels[chosen, 3:5].astype(np.float64) / 2
    turns = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    axes.add_collection(LineCollection(list(half[:, None] * turns), colors=BLUE, linewidths=0.6, alpha=0.25))
    title = f"outlines of {len(chosen):,} objects" if len(chosen) < len(labels) else "outlines"
    axes.set(xlim=(-0.5, 0.5), ylim=(0.5, -0.5))
    name_axes(axes, title, "share of the image")
