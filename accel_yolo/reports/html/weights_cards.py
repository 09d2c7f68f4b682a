"""The weights of a run: what they are, where they come from, what may be done with them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from accel_yolo.models.licence import checked_licence, may_i_ship
from accel_yolo.reports.html.run import Run, WeightsFile
from accel_yolo.reports.html.wording import count, size

_TITLES = {"best": "best: of the epoch with the best metrics", "last": "last: of the last epoch"}
_MOST_NAMES = 12


@dataclass(frozen=True)
class WeightsCard:
    """A weights file as a page shows it; `problem` says why there is no more, `command` tells more."""

    title: str
    problem: str = ""
    command: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    may_ship: str = ""
    provenance: list[str] = field(default_factory=list)


def weights_cards(run: Run) -> list[WeightsCard]:
    """Return the cards of the weights that a training wrote, or that a validation was about."""
    if not run.is_training:
        names = run.settings.content.words("weights") if run.settings.content is not None else []
        return [_validated(name) for name in names] or [WeightsCard("", "Which weights were measured is not recorded.")]
    cards = []
    for name, found in run.weights.items():
        title = _TITLES[name]
        if found.content is None:
            cards.append(WeightsCard(title, found.problem))
        elif cards and _says_as(run, found.content):
            cards.append(
                WeightsCard(title, f"{found.content.name}, {size(found.content.size_bytes)}: the same history.")
            )
        else:
            cards.append(_card(title, found.content))
    return cards


def _says_as(run: Run, last: WeightsFile) -> bool:
    best = run.weights["best"].content
    return best is not None and best.note == last.note


def _card(title: str, weights: WeightsFile) -> WeightsCard:
    note = weights.note
    licence = checked_licence(note.licence, note.provenance, weights.name)
    more = f" and {len(note.names) - _MOST_NAMES} more" if len(note.names) > _MOST_NAMES else ""
    facts = [
        ("file", f"weights/{weights.name}, {size(weights.size_bytes)}"),
        ("classes", f"{count(len(note.names), 'class', 'classes')}: {', '.join(note.names[:_MOST_NAMES])}{more}"),
        ("image size", f"{note.imgsz} px"),
        ("licence", licence),
    ]
    return WeightsCard(title, "", "", facts, may_i_ship(licence, tuple(note.provenance)), note.provenance)


def _validated(name: str) -> WeightsCard:
    said = "These weights were measured. What they are and what may be done with them:"
    return WeightsCard(name, said, shlex.join(["accel-yolo", "info", "weights", name]))
