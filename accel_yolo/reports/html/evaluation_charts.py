"""Precision, recall and F1 as charts, from the numbers that an evaluation left."""

from __future__ import annotations

from collections.abc import Sequence

from accel_yolo.reports.html.line_chart import STYLES, Line, LineChart, thinned
from accel_yolo.reports.html.run import CurveTable, Run

ALL = "all classes"
MOST_POINTS = 100
"""More places than this a chart of this size cannot show."""
_ONE = (0.0, 1.0)


def evaluation_charts(run: Run) -> list[LineChart]:
    """Return precision over recall, F1 over confidence, both by class, and the means of all three."""
    found = {stem: table.content for stem, table in run.curves.items() if table.content is not None}
    best = run.metrics.content.best_confidence if run.metrics.content is not None else None
    marks = [(best, f"best F1: confidence {best:.3f}")] if best is not None else []
    charts = []
    if table := found.get("PR_curve"):
        charts.append(_by_class("Precision over recall", ("recall", "precision"), table, []))
    if table := found.get("F1_curve"):
        charts.append(_by_class("F1 over confidence", ("confidence", "F1"), table, marks))
    means = [(name, found[stem]) for stem, name in (("P_curve", "precision"), ("R_curve", "recall")) if stem in found]
    means += [("F1", found["F1_curve"])] if "F1_curve" in found else []
    if len(means) > 1:
        keep = thinned(means[0][1].x, MOST_POINTS)
        lines = [Line(name, keep(_mean(table)), style) for style, (name, table) in enumerate(means)]
        x = [value or 0.0 for value in keep(means[0][1].x)]
        title = "Mean over classes"
        charts.append(LineChart(title, ("confidence", ""), x, lines, _ONE, marks, x_name="confidence"))
    return charts


def points_of(chart: LineChart, places: int = 10) -> list[list[float | None]]:
    """Return the rows of a table of a chart: at most about `places` abscissas, and the numbers there."""
    keep = thinned(chart.x, places)
    columns = [keep(chart.x), *(keep(list(line.y)) for line in chart.key)]
    return [list(row) for row in zip(*columns, strict=True)]


def overlaid_curves(runs: Sequence[tuple[str, Run]]) -> list[LineChart]:
    """Return precision over recall and F1 over confidence, the mean over classes, one line for each run."""
    charts = []
    kinds = (
        ("PR_curve", "Precision over recall", ("recall", "precision")),
        ("F1_curve", "F1 over confidence", ("confidence", "F1")),
    )
    for stem, title, axes in kinds:
        tables = [(style, label, run.curves[stem].content) for style, (label, run) in enumerate(runs)]
        there = [(style, label, table) for style, label, table in tables if table is not None]
        if not there:
            continue
        # All are written over the same abscissas; a table of another length cannot be laid over the others.
        first = there[0][2].x
        keep = thinned(first, MOST_POINTS)
        lines = [Line(label, keep(_mean(table)), style) for style, label, table in there if len(table.x) == len(first)]
        x = [value or 0.0 for value in keep(first)]
        charts.append(LineChart(f"{title}, mean over classes", axes, x, lines, _ONE, x_name=axes[0]))
    return charts


def _by_class(title: str, axes: tuple[str, str], table: CurveTable, marks: Sequence[tuple[float, str]]) -> LineChart:
    keep = thinned(table.x, MOST_POINTS)
    x = [value or 0.0 for value in keep(table.x)]
    classes = [(name, column) for name, column in table.columns.items() if name != ALL]
    named = len(classes) < STYLES
    lines = [Line(name, keep(column), style + 1 if named else -1) for style, (name, column) in enumerate(classes)]
    # With one class its line is the mean.
    if len(classes) != 1:
        lines.append(Line(ALL, keep(_mean(table)), 0))
    else:
        lines = [Line(classes[0][0], keep(classes[0][1]), 0)]
    return LineChart(title, axes, x, lines, _ONE, marks, x_name=axes[0])


def _mean(table: CurveTable) -> list[float | None]:
    return table.columns[ALL] if ALL in table.columns else next(iter(table.columns.values()))
