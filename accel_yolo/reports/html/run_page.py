"""The report of one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accel_yolo.config.resolve import COMMAND_LINE
from accel_yolo.config.settings import flag_of
from accel_yolo.reports.html.confusion_chart import confusion_chart
from accel_yolo.reports.html.evaluation_charts import evaluation_charts, points_of
from accel_yolo.reports.html.how_it_ran import environment_facts, moment, starts
from accel_yolo.reports.html.line_chart import LineChart
from accel_yolo.reports.html.next_commands import next_commands
from accel_yolo.reports.html.page import rendered
from accel_yolo.reports.html.pictures import WORST, picture, picture_groups
from accel_yolo.reports.html.run import Run, read_run
from accel_yolo.reports.html.schemas import Metrics
from accel_yolo.reports.html.settings import Setting
from accel_yolo.reports.html.status import status_of
from accel_yolo.reports.html.timing import timing_of
from accel_yolo.reports.html.training_charts import epoch_table, training_charts
from accel_yolo.reports.html.verdict import numbers_of, tiles, verdict
from accel_yolo.reports.html.weights_cards import weights_cards
from accel_yolo.reports.html.wording import NOTHING, count, metric, plain, share

SIZES = {"all": "", "small": "under 32² px", "medium": "up to 96² px", "large": "above"}
MOST_BESIDE = 10
"""A confusion matrix of more classes than this needs the whole width."""
_WORST = (
    ("image", "Image", "wide"),
    ("missed", "Missed", "n"),
    ("false", "Made up", "n"),
    ("misnamed", "Misnamed", "n"),
    ("missed_classes", "Which were missed", "wide"),
    ("false_classes", "Which were made up", "wide"),
)
"""Columns of worst.csv, their titles, and how they are set."""
_SECTIONS = (
    ("curves", "How it went"),
    ("evaluation", "Precision and recall"),
    ("classes", "Classes and sizes"),
    ("confusion", "Confusion"),
    ("worst", "Worst images"),
    ("pictures", "Pictures"),
    ("settings", "Settings"),
    ("machine", "How it ran"),
    ("weights", "Weights"),
    ("next", "Next"),
)


def run_page(folder: Path, now_s: float | None = None) -> str:
    """Return the report of the run in a folder: a function of its files, whatever they hold.

    Args:
        folder: that of a training or a validation, finished or not.
        now_s: the time, s since 1970, for which it is said whether the run goes on; now when None.
    """
    run = read_run(folder)
    status = status_of(run, now_s)
    numbers, timing = numbers_of(run, status), timing_of(run)
    sessions = run.sessions.content or []
    groups = picture_groups(folder)
    left_out = {"curves"} if not run.is_training else set()
    left_out |= {"pictures"} if not groups and not run.is_training else set()
    return rendered(
        "run.html",
        run=run,
        status=status,
        verdict=verdict(run, status, numbers),
        tiles=tiles(run, status, numbers, timing),
        started=moment(sessions[0].started) if sessions else "",
        sections=[(anchor, title) for anchor, title in _SECTIONS if anchor not in left_out],
        timing=timing,
        timing_spoken=", ".join(f"{part.name} {share(part.share)}" for part in timing.parts) if timing else "",
        sessions=starts(sessions),
        sessions_text=count(len(sessions), "start") if sessions else "all",
        environment=environment_facts(sessions),
        groups=groups,
        worst_picture=picture(folder, *WORST),
        weights=weights_cards(run),
        commands=next_commands(run, status.state),
        **_curves(run, status.best_epoch),
        **_evaluation(run, run.metrics.content),
        **_settings(run),
    )


def _curves(run: Run, best_epoch: int | None) -> dict[str, Any]:
    titles, rows = epoch_table(run)
    return {"training_charts": training_charts(run, best_epoch), "epoch_titles": titles, "epoch_rows": rows}


def _evaluation(run: Run, metrics: Metrics | None) -> dict[str, Any]:
    charts = evaluation_charts(run)
    listed = metrics.per_class if metrics is not None else []
    confused = metrics.confusion if metrics is not None else None
    mistakes = ""
    if confused is not None:
        misnamed = sum(pair.count for pair in confused.misnamed)
        mistakes = f"{count(confused.missed, 'object')} missed, {confused.false:,} made up, {misnamed:,} misnamed."
    worst_titles, worst_rows = _worst(run)
    return {
        "metrics": metrics,
        "evaluation_charts": charts,
        "evaluation_problem": next((f.problem for f in run.curves.values() if f.problem), ""),
        "evaluated": _evaluated(run, metrics),
        "chart_titles": _chart_titles,
        "chart_rows": _chart_rows,
        "class_rows": sorted(listed, key=lambda row: -(row.map50_95 or 0.0)),
        "size_rows": [
            (size, SIZES.get(size, ""), row.instances, metric(row.ap), metric(row.ar))
            for size, row in (metrics.by_size if metrics is not None else {}).items()
        ],
        "speed": [(name, f"{value or 0:.1f}") for name, value in (metrics.speed_ms if metrics else {}).items()],
        "pairs": [(pair.true, pair.predicted, pair.count) for pair in (confused.misnamed if confused else [])],
        "mistakes": mistakes,
        "confusion": confusion_chart(run.confusion.content) if run.confusion.content is not None else "",
        "confusion_is_wide": run.confusion.content is not None and len(run.confusion.content.names) > MOST_BESIDE,
        "worst_titles": worst_titles,
        "worst_rows": worst_rows,
    }


def _evaluated(run: Run, metrics: Metrics | None) -> str:
    whose = "The best weights" if run.is_training else "The weights"
    if metrics is None:
        return f"{whose}, at an IoU of 0.5."
    return f"{whose} on {count(metrics.images, 'image')} with {count(metrics.instances, 'object')}, at an IoU of 0.5."


def _chart_titles(chart: LineChart) -> list[str]:
    return [chart.axes[0], *(line.name for line in chart.key)]


def _chart_rows(chart: LineChart) -> list[list[str]]:
    return [[plain(value) if value is not None else NOTHING for value in row] for row in points_of(chart)]


def _worst(run: Run) -> tuple[list[tuple[str, str]], list[list[str]]]:
    """Return titles and rows of the worst images; of their paths the file names."""
    if not run.worst.content:
        return [], []
    header, *rows = run.worst.content
    columns = [(header.index(name), title, kind) for name, title, kind in _WORST if name in header]
    table = [[row[place] if place < len(row) else "" for place, _, _ in columns] for row in rows]
    return [(title, kind) for _, title, kind in columns], [[Path(row[0]).name, *row[1:]] for row in table if row]


def _settings(run: Run) -> dict[str, Any]:
    rows = run.settings.content.rows if run.settings.content is not None else []
    # What was typed comes first, then what files said.
    chosen = sorted((row for row in rows if not row.is_default), key=lambda row: row.origin != COMMAND_LINE)
    return {
        "chosen": [_shown(row) for row in chosen if not row.is_hyp],
        "chosen_hyps": [_shown(row) for row in chosen if row.is_hyp],
        "defaults": [_shown(row) for row in rows if row.is_default],
    }


def _shown(row: Setting) -> dict[str, str]:
    return {"flag": row.name if row.is_hyp else flag_of(row.name), "value": row.value, "origin": row.origin}
