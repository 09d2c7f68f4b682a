"""The commands `accel-yolo info ...`: what a file is, where it comes from and what may be done with it."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from pathlib import Path

from accel_yolo import console
from accel_yolo.config.weights_schema import InfoWeightsConfig
from accel_yolo.errors import printable
from accel_yolo.inference.runtimes.kinds import exported_kind
from accel_yolo.inference.runtimes.meta import load_meta
from accel_yolo.models.facts import WeightsFacts, described_facts, weights_facts
from accel_yolo.models.licence import may_i_ship
from accel_yolo.models.weights import find_weights

_WIDTH, _NAMES = 100, 12


def weights(config: InfoWeightsConfig) -> None:
    """Print what a weights file holds, where it comes from and what may be done with it. Raises UserError."""
    path = Path(config.file).expanduser()
    facts = described_facts(path, load_meta(path)) if exported_kind(path) else weights_facts(find_weights(config.file))
    verdict = may_i_ship(facts.licence, facts.provenance)
    if config.json:
        fields = {**dataclasses.asdict(facts), "names": list(facts.names.values()), "may_i_ship": verdict}
        console.say(json.dumps(fields, ensure_ascii=True))
        return
    rows = [
        ("file", printable(facts.file)),
        ("size", f"{facts.size_bytes / 1e6:.1f} MB ({facts.size_bytes:,} bytes)"),
        ("architecture", f"{facts.architecture or 'a model YAML of its own'}, {facts.layers} layers"),
        ("parameters", f"{facts.parameters:,} ({facts.parameters_fused:,} fused)"),
        ("classes", _listed_names(facts)),
        ("image size", f"{facts.imgsz} px"),
        *(("anchors" if level == 0 else "", row) for level, row in enumerate(_anchor_rows(facts))),
        ("licence", printable(facts.licence)),
        *_provenance_rows(facts),
    ]
    for line in console.aligned(rows):
        console.say(line)
    console.say("")
    console.say("May I ship this? (docs/licensing.md; not legal advice)")
    for line in textwrap.wrap(verdict, _WIDTH, break_on_hyphens=False):
        console.say(f"  {line}")


def _listed_names(facts: WeightsFacts) -> str:
    shown = [printable(name, 40) for name in list(facts.names.values())[:_NAMES]]
    more = f" and {len(facts.names) - _NAMES} more" if len(facts.names) > _NAMES else ""
    return f"{len(facts.names)}: {', '.join(shown)}{more}"


def _anchor_rows(facts: WeightsFacts) -> list[str]:
    return [
        f"stride {stride}: " + "  ".join(f"{w:.5g} x {h:.5g}" for w, h in level) + " px"
        for stride, level in zip(facts.strides, facts.anchors_px, strict=True)
    ]


def _provenance_rows(facts: WeightsFacts) -> list[tuple[str, str]]:
    steps = [f"{number}. {printable(step)}" for number, step in enumerate(facts.provenance, start=1)]
    return [("provenance" if row == 0 else "", step) for row, step in enumerate(steps or ["not stated"])]
