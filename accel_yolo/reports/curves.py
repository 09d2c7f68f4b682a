"""Precision, recall and F1 as curves: pictures, and the numbers behind them."""

# C classes present in the labels, P points of a curve

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accel_yolo.files import write_text_atomic
from accel_yolo.metrics.average_precision import AveragePrecision
from accel_yolo.reports.figures import BLUE, GREY, MARK, save_figure, short, take_literally

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ALL = "all classes"
MOST_NAMED = 20
"""With more classes than this each is a thin grey line without a name."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One picture.

    Attributes:
        stem: name of its files.
        axes: what lies along x and y.
        x: [P] float, 0..1.
        classes: [C, P] float, 0..1, one curve per class.
        values: [C] what the legend says of each class; None says nothing.
        overall: what it says of the mean.
        marked: abscissa that a line marks; None marks none.
    """

    stem: str
    axes: tuple[str, str]
    x: NDArray[np.float64]
    classes: NDArray[np.float64]
    values: NDArray[np.float64]
    overall: str
    marked: float | None = None

    @property
    def mean(self) -> NDArray[np.float64]:
        """[P] float: the mean over classes."""
        return self.classes.mean(axis=0)


def curves_of(ap: AveragePrecision) -> list[Curve]:
    """Return the four curves of an evaluation: PR, F1, P and R; none when nothing is labelled."""
    if not len(ap.classes):
        return []
    recall, best = np.linspace(0, 1, ap.precision_at_recall.shape[1]), ap.best_confidence
    by_confidence = (
        ("F1_curve", "F1", ap.f1_curve, ap.f1),
        ("P_curve", "precision", ap.precision_curve, ap.precision),
        ("R_curve", "recall", ap.recall_curve, ap.recall),
    )
    return [
        Curve(
            "PR_curve", ("recall", "precision"), recall, ap.precision_at_recall, ap.ap[:, 0], f"mAP50 {ap.map50:.3f}"
        ),
        *(
            Curve(stem, ("confidence", name), ap.confidence, curve, values, f"{values.mean():.3f} at {best:.3f}", best)
            for stem, name, curve, values in by_confidence
        ),
    ]


def write_curves(folder: Path, ap: AveragePrecision, names: Mapping[int, str]) -> None:
    """Write the numbers of each curve: PR_curve.csv, F1_curve.csv, P_curve.csv and R_curve.csv.

    Args:
        folder: where.
        ap: the evaluation.
        names: class number to name.

    Raises:
        EnvironmentFault: a file cannot be written.
    """
    for curve in curves_of(ap):
        write_text_atomic(folder / f"{curve.stem}.csv", _table(curve, _named(ap, names)))


def plot_curves(folder: Path, ap: AveragePrecision, names: Mapping[int, str]) -> None:
    """Draw each curve: PR_curve.png, F1_curve.png, P_curve.png and R_curve.png; see `write_curves`."""
    for curve in curves_of(ap):
        save_figure(curve_figure(curve, _named(ap, names)), folder / f"{curve.stem}.png")


def _named(ap: AveragePrecision, names: Mapping[int, str]) -> list[str]:
    return [names.get(number, str(number)) for number in ap.classes.tolist()]


def _table(curve: Curve, names: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([curve.axes[0], ALL, *names])
    table = np.column_stack((curve.x, curve.mean, curve.classes.T))
    np.savetxt(text, table, fmt="%.5g", delimiter=",")
    return text.getvalue()


def curve_figure(curve: Curve, names: list[str]) -> Figure:
    """Return the picture of a curve, named up to `MOST_NAMED` classes."""
    from matplotlib.figure import Figure

    # Edges as shares: a layout that is worked out would take as long again as the drawing.
    figure = Figure(figsize=(9.5, 6))
    axes = figure.add_axes((0.07, 0.09, 0.6, 0.88))
    if len(names) <= MOST_NAMED:
        _draw_named(axes, curve, names)
    else:
        _draw_unnamed(axes, curve)
    if len(names) > 1:
        axes.plot(curve.x, curve.mean, color=BLUE, linewidth=3, label=f"{ALL} {curve.overall}")
    if curve.marked is not None:
        axes.axvline(curve.marked, color=MARK, linestyle=":", linewidth=1.5, label=f"best F1: {curve.marked:.3f}")
    axes.set(xlabel=curve.axes[0], ylabel=curve.axes[1], xlim=(0, 1), ylim=(0, 1.01))
    axes.grid(alpha=0.3)
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.01), fontsize=9, frameon=False)
    take_literally(legend.get_texts())
    return figure


def _draw_named(axes: Axes, curve: Curve, names: list[str]) -> None:
    from matplotlib import colormaps

    colours = colormaps["tab10" if len(names) <= 10 else "tab20"]
    for row, (name, value) in enumerate(zip(names, curve.values, strict=True)):
        axes.plot(curve.x, curve.classes[row], color=colours(row), linewidth=1.5, label=f"{short(name)} {value:.3f}")


def _draw_unnamed(axes: Axes, curve: Curve) -> None:
    from matplotlib.collections import LineCollection

    paths = np.stack((np.broadcast_to(curve.x, curve.classes.shape), curve.classes), axis=-1)
    label = f"each of {len(curve.classes)} classes"
    axes.add_collection(LineCollection(list(paths), colors=GREY, linewidths=0.6, alpha=0.6, label=label))
