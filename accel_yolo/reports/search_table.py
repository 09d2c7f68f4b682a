"""The trials of a search as a table: plain data, CSV, and the few best for the console."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

METRICS = ("metrics/precision", "metrics/recall", "metrics/mAP_0.5", "metrics/mAP_0.5:0.95")
"""Names of the metrics, those of results.csv."""

BEST_COLUMNS = ("trial", "fitness", "P", "R", "mAP50", "mAP50-95", "epoch")


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    Attributes:
        number: counted from 0.
        state: complete, pruned, failed or running.
        fitness: of its best epoch, None before the first.
        metrics: precision, recall, mAP50 and mAP50-95 of that epoch.
        best_epoch: that epoch, counted from 0; -1 before the first.
        hyp: all its hyper-parameters, as they were trained.
        seconds: from its beginning to its end, interruptions included; None while it runs.
        error: why it failed.
    """

    number: int
    state: str
    fitness: float | None
    metrics: tuple[float, ...]
    best_epoch: int
    hyp: Mapping[str, float]
    seconds: float | None = None
    error: str = ""

    @property
    def counts(self) -> bool:
        """Whether the trial was trained to its end: only those are compared."""
        return self.state == "complete"


def ranked(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the complete trials, the best first; of equals the earlier one."""
    return sorted((row for row in rows if row.counts), key=lambda row: (-(row.fitness or 0.0), row.number))


def table_csv(rows: Sequence[TrialRow]) -> str:
    """Return all trials as CSV, in the order of their numbers."""
    names = list(dict.fromkeys(name for row in rows for name in row.hyp))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["number", "state", "fitness", *METRICS, "epoch", "seconds", *names, "error"])
    for row in sorted(rows, key=lambda row: row.number):
        metrics = [_text(value) for value in row.metrics] or [""] * len(METRICS)
        epoch = row.best_epoch if row.best_epoch >= 0 else ""
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        hyp = [row.hyp.get(name, "") for name in names]
        writer.writerow([row.number, row.state, _text(row.fitness), *metrics, epoch, seconds, *hyp, row.error])
    return stream.getvalue()


def best_rows(rows: Sequence[TrialRow], count: int = 5) -> list[tuple[object, ...]]:
    """Return the best trials under `BEST_COLUMNS`."""
    return [
        (row.number, *(f"{value:.4f}" for value in (row.fitness or 0.0, *row.metrics)), row.best_epoch + 1)
        for row in ranked(rows)[:count]
    ]


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"
