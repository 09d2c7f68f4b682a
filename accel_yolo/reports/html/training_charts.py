"""How a training went, epoch by epoch, as charts and as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accel_yolo.reports.html.history import real
from accel_yolo.reports.html.line_chart import Line, LineChart
from accel_yolo.reports.html.run import Run
from accel_yolo.reports.html.status import MAP50, MAP50_95
from accel_yolo.reports.html.wording import NOTHING, plain, share

RATE, WAIT, MEMORY = "speed/images_per_s", "speed/data_wait", "memory/process_mib"


@dataclass(frozen=True)
class Quantity:
    """A chart over epochs: its title, the columns it shows with their names, and whether it begins at 0."""

    title: str
    columns: Mapping[str, str]
    from_zero: bool = False


QUANTITIES = (
    Quantity("Mean average precision", {MAP50: "mAP50", MAP50_95: "mAP50-95"}),
    Quantity("Precision and recall", {"metrics/precision": "precision", "metrics/recall": "recall"}),
    Quantity("Box loss", {"train/box_loss": "training", "val/box_loss": "validation"}),
    Quantity("Objectness loss", {"train/obj_loss": "training", "val/obj_loss": "validation"}),
    Quantity("Class loss", {"train/cls_loss": "training", "val/cls_loss": "validation"}),
    Quantity("Learning rate", {"x/lr0": "biases", "x/lr1": "decayed weights", "x/lr2": "normalisation"}),
    Quantity("Images per second, training", {RATE: "images/s"}, from_zero=True),
    Quantity("Share of the time waiting for data", {WAIT: "share"}, from_zero=True),
)
_LEFT_OUT = ("x/lr0", "x/lr2")
"""Learning rates that say no more than that of the weights, where runs are compared."""
RECORDED = (RATE, WAIT, MEMORY)
"""Columns that results.csv does not have."""


def series(run: Run) -> tuple[list[float], dict[str, list[float | None]]]:
    """Return the epochs of a run, counted from 1, and every column over them."""
    rows = run.rows
    epochs = [int(row["epoch"] or 0) for row in rows]
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "epoch"))
    table: dict[str, list[float | None]] = {name: [row.get(name) for row in rows] for name in columns}
    for name in RECORDED:
        of_epoch = run.history.content.of_epoch if run.history.content is not None else lambda _: {}
        table[name] = [real(of_epoch(epoch), name) for epoch in epochs]
    return [float(epoch + 1) for epoch in epochs], table


def training_charts(run: Run, best_epoch: int | None) -> list[LineChart]:
    """Return the charts of a training; one without any number is left out."""
    epochs, table = series(run)
    marks = [(best_epoch + 1.0, f"best weights: epoch {best_epoch + 1}")] if best_epoch is not None else []
    charts = [
        LineChart(
            quantity.title,
            ("epoch", ""),
            epochs,
            [
                Line(name, table.get(column, [None] * len(epochs)), style)
                for style, (column, name) in enumerate(quantity.columns.items())
            ],
            marks=marks,
            from_zero=quantity.from_zero,
            whole=True,
            x_name="epoch",
        )
        for quantity in QUANTITIES
    ]
    return [chart for chart in charts if not chart.is_empty]


def epoch_table(run: Run) -> tuple[list[str], list[list[str]]]:
    """Return titles and rows of all numbers over epochs; columns without any number are left out."""
    epochs, table = series(run)
    names = [name for name, values in table.items() if any(value is not None for value in values)]
    rows = [[f"{epoch:.0f}", *(_cell(name, table[name][row]) for name in names)] for row, epoch in enumerate(epochs)]
    return ["epoch", *names], rows


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return NOTHING
    return share(value) if name == WAIT else f"{value:.0f}" if name == MEMORY else plain(value)


def overlaid(runs: Sequence[tuple[str, Run]]) -> list[LineChart]:
    """Return one chart for each column that at least one of several runs has, each run a line.

    Args:
        runs: the name of each run in the legend, and the run.
    """
    tables = [series(run) for _, run in runs]
    x = sorted({epoch for epochs, _ in tables for epoch in epochs})
    charts = []
    for quantity in QUANTITIES:
        for column, name in quantity.columns.items():
            if column in _LEFT_OUT:
                continue
            lines = []
            for style, ((label, _), (epochs, table)) in enumerate(zip(runs, tables, strict=True)):
                found = dict(zip(epochs, table.get(column, []), strict=False))
                lines.append(Line(label, [found.get(epoch) for epoch in x], style))
            title = quantity.title if len(quantity.columns) == 1 else _joined(quantity.title, name)
            chart = LineChart(title, ("epoch", ""), x, lines, from_zero=quantity.from_zero, whole=True, x_name="epoch")
            charts += [] if chart.is_empty else [chart]
    return charts


def _joined(title: str, name: str) -> str:
    if title == "Mean average precision":
        return name
    if title == "Precision and recall":
        return name.capitalize()
    return f"{title}, {name}"
