"""A search as a picture: how the best fitness rose, and the fitness over each hyper-parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from accel_yolo.config.genes import Gene
from accel_yolo.files import atomic_path
from accel_yolo.reports.search_table import TrialRow, ranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 6
_TRIED, _PRUNED, _BEST, _LINE = "#4c9be8", "#9a9a9a", "#d6452b", "#1f5fa8"


def plot(rows: Sequence[TrialRow], genes: Sequence[Gene], path: Path) -> None:
    """Write the picture as PNG. Raises EnvironmentFault where that is impossible.

    Args:
        rows: the trials; those without a fitness are left out.
        genes: the hyper-parameters that were changed.
        path: the picture.
    """
    from matplotlib.figure import Figure

    shown = sorted((row for row in rows if row.fitness is not None), key=lambda row: row.number)
    lines = math.ceil(len(genes) / _COLUMNS)
    columns = math.ceil(len(genes) / lines)
    width, height = max(2.1 * columns, 7), 3.1 + 1.9 * lines
    # Inches as shares: a layout that is worked out would take seconds for this many axes.
    figure = Figure(figsize=(width, height))
    edges = {"left": 0.7 / width, "right": 1 - 0.15 / width, "bottom": 0.3 / height, "top": 1 - 0.4 / height}
    grid = figure.add_gridspec(
        1 + lines, columns, height_ratios=[1.7, *[1.0] * lines], hspace=0.42, wspace=0.12, **edges
    )
    _draw_history(figure.add_subplot(grid[0, :]), shown)
    first = None
    for place, gene in enumerate(genes):
        axes = figure.add_subplot(grid[1 + place // columns, place % columns], sharey=first)
        first = first or axes
        _draw_gene(axes, gene, shown)
        if place % columns:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel("fitness", fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _draw_history(axes: Axes, rows: Sequence[TrialRow]) -> None:
    for state, colour, marker, label in (("pruned", _PRUNED, "x", "ended early"), ("complete", _TRIED, "o", "trained")):
        some = [row for row in rows if row.state == state]
        if some:
            axes.scatter(*_points(some), c=colour, s=22, marker=marker, label=label, zorder=2)
    best = ranked(rows)[:1]
    if best:
        complete = [row for row in rows if row.counts]
        steps = [max(row.fitness or 0.0 for row in complete[: place + 1]) for place in range(len(complete))]
        last = max(row.number for row in rows)
        axes.step([row.number for row in complete] + [last], [*steps, steps[-1]], where="post", c=_LINE, label="best")
        axes.scatter(*_points(best), c=_BEST, s=70, marker="*", label=f"trial {best[0].number}", zorder=3)
    axes.set_xlabel("trial", fontsize=8)
    axes.set_ylabel("fitness", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.margins(y=0.1)
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)
    if rows:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize=8, ncols=4, frameon=False)


def _points(rows: Sequence[TrialRow]) -> tuple[list[int], list[float]]:
    return [row.number for row in rows], [row.fitness or 0.0 for row in rows]


def _draw_gene(axes: Axes, gene: Gene, rows: Sequence[TrialRow]) -> None:
    best = ranked(rows)[:1]
    groups = (
        ([row for row in rows if row.state == "pruned"], _PRUNED, "x", 14),
        ([row for row in rows if row.counts], _TRIED, "o", 14),
        (best, _BEST, "*", 60),
    )
    for some, colour, marker, size in groups:
        values = [row.hyp[gene.name] for row in some]
        axes.scatter(values, [row.fitness or 0.0 for row in some], c=colour, s=size, marker=marker)
    title = f"{gene.name} = {best[0].hyp[gene.name]:.3g}" if best else gene.name
    axes.set_title(title, fontsize=8)
    margin = 0.04
    if gene.log:
        reach, middle = (gene.high / gene.low) ** margin, math.sqrt(gene.low * gene.high)
        axes.set(xscale="log", xlim=(gene.low / reach, gene.high * reach))
    else:
        reach, middle = (gene.high - gene.low) * margin, (gene.low + gene.high) / 2
        axes.set_xlim(gene.low - reach, gene.high + reach)
    axes.set_xticks([gene.low, middle, gene.high], labels=[f"{tick:.2g}" for tick in (gene.low, middle, gene.high)])
    axes.minorticks_off()
    axes.margins(y=0.12)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
