"""The report that compares several runs."""

from __future__ import annotations

from collections.abc import Sequence

from accel_yolo.reports.html.comparison import (
    Member,
    differing_classes,
    differing_environment,
    differing_settings,
    differing_sizes,
    not_comparable,
    same_data,
    summary,
    times,
)
from accel_yolo.reports.html.evaluation_charts import overlaid_curves, points_of
from accel_yolo.reports.html.page import rendered
from accel_yolo.reports.html.training_charts import overlaid
from accel_yolo.reports.html.wording import metric, plain

MOST_CLASSES, MOST_NAMED = 20, 4
_SECTIONS = (
    ("results", "Results"),
    ("curves", "How they went"),
    ("evaluation", "Precision and recall"),
    ("settings", "Settings that differ"),
    ("classes", "Classes and sizes"),
    ("machine", "Times and machines"),
)


def compare_page(members: Sequence[Member]) -> str:
    """Return the page that compares runs."""
    titles, rows = summary(members)
    labelled = [(each.label, each.run) for each in members]
    trainings = any(each.run.is_training for each in members)
    return rendered(
        "compare.html",
        members=members,
        heading=_heading(members),
        verdict=verdict(members),
        warning=not_comparable(members),
        sections=[(anchor, title) for anchor, title in _SECTIONS if trainings or anchor != "curves"],
        titles=titles,
        rows=rows,
        trainings=trainings,
        charts=overlaid(labelled),
        chart_rows=lambda chart: [[plain(value) for value in row] for row in points_of(chart, 20)],
        evaluation_charts=overlaid_curves(labelled),
        settings=differing_settings(members),
        settings_known=any(each.run.settings.content for each in members),
        settings_problems=[
            f"{each.letter}: {each.run.settings.problem}" for each in members if each.run.settings.problem
        ],
        classes=differing_classes(members),
        most_classes=MOST_CLASSES,
        sizes=differing_sizes(members),
        times=times(members),
        environment=differing_environment(members),
        environment_known=any(each.run.sessions.content for each in members),
    )


def verdict(members: Sequence[Member]) -> str:
    """Return which run has the highest mAP50-95, and by how much."""
    ranked = sorted((each for each in members if each.numbers.map50_95 is not None), key=_map, reverse=True)
    if not ranked:
        return "None of these runs has been measured yet."
    if len(ranked) == 1:
        return f"Only {ranked[0].label} has been measured: mAP50-95 {metric(_map(ranked[0]))}."
    if not same_data(members):
        return "These runs were measured on different data."
    if not_comparable(members):
        return "These runs were measured on different numbers of images."
    first, second = ranked[0], ranked[1]
    if metric(_map(first)) == metric(_map(second)):
        return f"{first.label} and {second.label} reach the same mAP50-95, {metric(_map(first))}."
    return (
        f"{first.label} reaches the highest mAP50-95, {metric(_map(first))}: "
        f"{_map(first) - _map(second):.3f} more than {second.label}."
    )


def _map(member: Member) -> float:
    return member.numbers.map50_95 or 0.0


def _heading(members: Sequence[Member]) -> str:
    named = [each.name for each in members[:MOST_NAMED]]
    more = len(members) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
