"""The scaling report as a picture: images per second over devices, and where the time of an epoch goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from accel_yolo.files import atomic_path
from accel_yolo.reports.scaling import Epoch
from accel_yolo.reports.scaling_table import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PARTS = {"data": "#4c9be8", "compute": "#7fbf7b", "communication": "#e8944c", "serial": "#9a9a9a"}


def plot(report: Report, path: Path) -> None:
    """Write the picture as PNG. Raises EnvironmentFault where that is impossible."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    speed, shares = figure.subplots(1, 2)
    _draw_speed(speed, report.epochs, report.predictions)
    _draw_shares(shares, [*report.epochs, *report.predictions])
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _draw_speed(axes: Axes, measured: Sequence[Epoch], guesses: Sequence[Epoch]) -> None:
    first, every = measured[0], [*measured, *guesses]
    counts = [epoch.processes for epoch in every]
    one = first.images_per_s / first.processes
    axes.plot(counts, [one * count for count in counts], ":", color="#9a9a9a", label="ideal")
    axes.plot(*_points(measured), "o-", color="#1f5fa8", label="measured")
    if guesses:
        axes.plot(*_points([measured[-1], *guesses]), "o--", mfc="white", color="#1f5fa8", label="predicted")
    axes.set(xscale="log", yscale="log", xlabel="devices", ylabel="training images per second")
    axes.set_xticks(counts, labels=[str(count) for count in counts], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()


def _points(epochs: Sequence[Epoch]) -> tuple[list[int], list[float]]:
    return [epoch.processes for epoch in epochs], [epoch.images_per_s for epoch in epochs]


def _draw_shares(axes: Axes, epochs: Sequence[Epoch]) -> None:
    names = [f"{epoch.processes}" if epoch.measured else f"{epoch.processes}\npredicted" for epoch in epochs]
    table = [epoch.split.percent() for epoch in epochs]
    bottom = [0.0] * len(epochs)
    for place, (part, colour) in enumerate(_PARTS.items()):
        heights = [row[place] for row in table]
        axes.bar(names, heights, bottom=bottom, color=colour, label=part)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set(xlabel="devices", ylabel="share of an epoch, %", ylim=(0, 100))
    axes.legend(loc="lower left")
