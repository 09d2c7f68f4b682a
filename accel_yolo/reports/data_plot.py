"""What a split holds, as a picture: objects of each class, their sizes, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from accel_yolo.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _MOST_NAMED = "#1f5fa8", 40


def plot_split(path: Path, title: str, names: Sequence[str], labels: np.ndarray, wh_px: np.ndarray) -> None:
    """Write the picture as PNG.

    Args:
        path: the file.
        title: over the picture.
        names: of the classes.
        labels: [m, 5] class, cx, cy, w, h (0..1).
        wh_px: [m, 2] width and height of each object, px.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.2), layout="constrained")
    figure.suptitle(title)
    classes, sizes, places = figure.subplots(1, 3, width_ratios=(1.6, 1, 1))
    _draw_classes(classes, names, np.bincount(labels[:, 0].astype(np.int64), minlength=len(names)))
    sizes.hist2d(wh_px[:, 0], wh_px[:, 1], bins=60, cmap="Blues", norm="log" if len(wh_px) else "linear")
    sizes.set(xlabel="width, px", ylabel="height, px", title="sizes of objects")
    places.hist2d(labels[:, 1], labels[:, 2], bins=40, range=((0, 1), (0, 1)), cmap="Blues")
    places.invert_yaxis()
    places.set(xlabel="x", ylabel="y", title="centres of objects", aspect="equal")
    for label in classes.get_xticklabels():
        label.set_parse_math(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _draw_classes(axes: Axes, names: Sequence[str], counts: np.ndarray) -> None:
    order: list[int] = np.argsort(-counts, kind="stable").tolist()
    ordered = [names[number] for number in order]
    axes.bar(range(len(names)), [int(counts[number]) for number in order], color=_BLUE, width=0.85)
    axes.set(ylabel="objects", title="classes", xlim=(-0.6, len(names) - 0.4))
    if len(names) <= _MOST_NAMED:
        axes.set_xticks(range(len(names)), ordered, rotation=90)
    else:
        step = -(-len(names) // _MOST_NAMED)
        shown = ordered[::step]
        axes.set_xticks(range(0, len(names), step), shown, rotation=90, fontsize=7)
    if counts.max(initial=0) > 50 * max(int(np.median(counts)), 1):
        axes.set_yscale("log")
