"""How a training went, as one picture: losses, precision, recall, mAP and learning rate over its epochs."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accel_yolo.metrics.fitness import fitness_of
from accel_yolo.reports.figures import BLUE, GREY, MARK, name_axes, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Columns = Mapping[str, NDArray[np.float64]]
"""Column of `results.csv` -> its values, one for each epoch."""

RESULTS, PICTURE = "results.csv", "results.png"
_ORANGE = "#d98200"
_PANELS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("box loss", (("train/box_loss", "train", BLUE), ("val/box_loss", "val", _ORANGE))),
    ("objectness loss", (("train/obj_loss", "train", BLUE), ("val/obj_loss", "val", _ORANGE))),
    ("class loss", (("train/cls_loss", "train", BLUE), ("val/cls_loss", "val", _ORANGE))),
    (
        "precision and recall",
        (("metrics/precision", "precision", BLUE), ("metrics/recall", "recall", _ORANGE)),
    ),
    ("mAP", (("metrics/mAP_0.5", "mAP50", BLUE), ("metrics/mAP_0.5:0.95", "mAP50-95", _ORANGE))),
    ("learning rate", (("x/lr0", "biases", GREY), ("x/lr1", "weights", BLUE))),
)
"""Title, and of each line its column, its name and its colour."""
_SHARES = ("precision and recall", "mAP")
_MOST_DOTS, _LEAST_SMOOTHED, _WIDTH_EPOCHS = 40, 5, 3.0
"""Up to so many epochs each is a dot; from so many on a smoothed line is drawn, of so many epochs (sigma)."""


def read_results(path: Path) -> Columns:
    """Return the columns of a `results.csv`; a file that is not there or empty has none."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [[cell.strip() for cell in row] for row in csv.reader(stream) if row]
    if len(rows) < 2:
        return {}
    table = np.array(rows[1:], dtype=np.float64)
    return {name: table[:, column] for column, name in enumerate(rows[0])}


def plot_results(folder: Path) -> list[Path]:
    """Draw `results.png` from the `results.csv` of a run folder and return its path; [] where no epoch has ended."""
    columns = read_results(folder / RESULTS)
    if not columns:
        return []
    save_figure(results_figure(columns), folder / PICTURE, dpi=110)
    return [folder / PICTURE]


def results_figure(columns: Columns) -> Figure:
    """Return the picture of the columns of a `results.csv`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 7.5))
    places = {"left": 0.05, "right": 0.985, "bottom": 0.07, "top": 0.95, "wspace": 0.16, "hspace": 0.26}
    grid = figure.subplots(2, 3, gridspec_kw=places)
    epochs, best = columns["epoch"] + 1, best_row(columns)
    for number, (axes, (title, lines)) in enumerate(zip(grid.flat, _PANELS, strict=True)):
        shown = [(columns[column], name, colour) for column, name, colour in lines]
        rates = title == "learning rate"
        _draw_panel(axes, epochs, shown, best, is_schedule=rates)
        name_axes(axes, title, "epoch" if number >= 3 else "")
        highest = [float(values[np.isfinite(values)].max(initial=0.0)) for values, _, _ in shown]
        if title in _SHARES:
            axes.set_ylim(-0.02, 1.02)
        elif rates and highest[0] > 3 * highest[1] > 0:
            axes.set_yscale("log")  # in a warm-up the biases begin far above the weights
            axes.minorticks_off()
            axes.yaxis.set_major_formatter("{x:g}")
        elif max(highest) > 0:
            axes.set_ylim(0, 1.08 * max(highest))
            axes.ticklabel_format(axis="y", scilimits=(-2, 3))
    return figure


def best_row(columns: Columns) -> int | None:
    """Return the row of the epoch whose weights are the best ones; None where nothing was validated."""
    fitness = [
        fitness_of(map50, map50_95)
        for map50, map50_95 in zip(columns["metrics/mAP_0.5"], columns["metrics/mAP_0.5:0.95"], strict=True)
    ]
    return int(np.nanargmax(fitness)) if np.isfinite(fitness).any() else None


def smoothed(values: NDArray[np.float64], sigma: float = _WIDTH_EPOCHS) -> NDArray[np.float64]:
    """Return values smoothed by a line fitted around each under a Gaussian weight, so that the ends are not bent.

    Local linear regression: Cleveland 1979, "Robust locally weighted regression and smoothing scatterplots".
    """
    distance = np.arange(len(values))[None] - np.arange(len(values))[:, None]
    weights = np.exp(-0.5 * (distance / sigma) ** 2)
    s0, s1, s2 = weights.sum(axis=1), (weights * distance).sum(axis=1), (weights * distance**2).sum(axis=1)
    return (s2 * (weights @ values) - s1 * ((weights * distance) @ values)) / (s0 * s2 - s1**2)


def _draw_panel(
    axes: Axes,
    epochs: NDArray[np.float64],
    lines: Sequence[tuple[NDArray[np.float64], str, str]],
    best: int | None,
    *,
    is_schedule: bool,
) -> None:
    """Draw some columns over the epochs; what a schedule says needs neither smoothing nor a best epoch."""
    from matplotlib.ticker import MaxNLocator

    for values, name, colour in lines:
        known = np.isfinite(values)  # an epoch without validation has no such values
        if not known.any():
            continue
        dots = "o" if known.sum() <= _MOST_DOTS else ""
        is_smoothed = known.sum() >= _LEAST_SMOOTHED and not is_schedule
        told = values[known][-1] if best is None or is_schedule or not known[best] else values[best]
        label = f"{name}  {told:.3g}"
        axes.plot(epochs[known], values[known], color=colour, marker=dots, markersize=4, linewidth=1.4, label=label)
        if is_smoothed:
            axes.plot(epochs[known], smoothed(values[known]), color=colour, linestyle=":", linewidth=2.2, alpha=0.75)
    if best is not None and not is_schedule:
        axes.axvline(epochs[best], color=MARK, linestyle="--", linewidth=1, label=f"best epoch: {epochs[best]:.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, min_n_ticks=1))
    margin = max(0.02 * (epochs[-1] - epochs[0]), 0.5)
    axes.set_xlim(epochs[0] - margin, epochs[-1] + margin)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=9, framealpha=0.85)
