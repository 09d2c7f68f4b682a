"""The page that introduces a model: what it finds and how well, how it was made, and what may be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from accel_yolo.config.yaml_io import dump_yaml
from accel_yolo.models.licence import UNSTATED, may_i_ship
from accel_yolo.models.weights_meta import WeightsMeta
from accel_yolo.version import __version__

METRICS = {
    "map50_95": ("mAP", "mAP@0.5:0.95"),
    "map50": ("mAP_50", "mAP@0.5"),
    "precision": ("precision", "precision"),
    "recall": ("recall", "recall"),
}
"""Key in `metrics.json` -> type and name in the card."""

NO_REPOSITORY = "YOUR-NAME/THIS-MODEL"
"""Stands in a card for the repository until the model is uploaded to one."""

_SPLITS = {"val": "validation", "train": "training"}
_MOST_NAMES, _MOST_CLASSES = 40, 100
# Settings of a run that say nothing about the model, or something about the machine that made it.
_NOT_RECIPE = (
    *("project", "name", "exist_ok", "resume", "device", "workers", "cache", "cache_dir"),
    *("nosave", "noplots", "bbox_interval", "save_period", "verbose", "quiet", "debug"),
    *("report_to", "report_timeout", "entity"),
)
_PATHS = frozenset(("weights", "cfg", "data", "hyp_file", "augment_with"))


@dataclass(frozen=True)
class CardFacts:
    """What a card is made from.

    Attributes:
        name: of the model.
        meta: of its weights.
        repository: what users pass to `load`; `NO_REPOSITORY` where it has none yet.
        metrics: content of a `metrics.json`; None where nothing was measured.
        measured_on: names of the data sets they were measured on; empty where that is not known.
        split: of these data sets; "" where it is not known.
        run: content of the `config.yaml` of its training; None where it is not known.
    """

    name: str
    meta: WeightsMeta
    repository: str
    metrics: Mapping[str, Any] | None = None
    measured_on: Sequence[str] = ()
    split: str = ""
    run: Mapping[str, Any] | None = field(default=None)


def model_card(facts: CardFacts) -> str:
    """Return the text of a model card: YAML front matter as the Hugging Face hub reads it, and Markdown."""
    parts = [f"---\n{_front_matter(facts)}\n---\n", f"# {facts.name}\n", _introduction(facts), _usage(facts)]
    parts += [_results(facts), _recipe(facts), _licence(facts.meta)]
    return "\n".join(part for part in parts if part)


def data_names(run: Mapping[str, Any] | None) -> list[str]:
    """Return the names of the data sets of a run, without folders and endings."""
    chosen = _settings(run).get("data", [])
    return [PurePath(str(one)).stem for one in ([chosen] if isinstance(chosen, str) else chosen)]


def _front_matter(facts: CardFacts) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    trained = data_names(facts.run)
    measured = list(facts.measured_on) or ["not stated"]
    results = [
        EvalResult(
            task_type="object-detection",
            dataset_type=measured[0],
            dataset_name=", ".join(measured),
            dataset_split=facts.split or None,
            metric_type=kind,
            metric_value=round(float(facts.metrics[key]), 5),
            metric_name=name,
        )
        for key, (kind, name) in METRICS.items()
        if facts.metrics is not None and key in facts.metrics
    ]
    stated = facts.meta.licence != UNSTATED
    data = ModelCardData(
        license=facts.meta.licence.lower() if stated else "unknown",
        library_name="accel_yolo",
        pipeline_tag="object-detection",
        tags=["object-detection", "yolov5", "accel_yolo", "pytorch"],
        datasets=trained or None,
        metrics=[kind for kind, _ in METRICS.values()] if results else None,
        model_name=facts.name,
        eval_results=results or None,
    )
    return data.to_yaml()


def _introduction(facts: CardFacts) -> str:
    names = [facts.meta.names[number] for number in sorted(facts.meta.names)]
    shown = ", ".join(names[:_MOST_NAMES]) + (
        f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    )
    strides = " ".join(map(str, facts.meta.strides))
    return (
        f"A detector of the YOLOv5 family for {len(names)} {'class' if len(names) == 1 else 'classes'}: {shown}.\n\n"
        f"Made for images of {facts.meta.imgsz} px; strides {strides}. Written by accel_yolo {__version__}.\n"
    )


def _usage(facts: CardFacts) -> str:
    return (
        "## How to use\n\n```\npip install accel-yolo\n```\n\n```python\nimport accel_yolo\n\n"
        f'model = accel_yolo.load("{facts.repository}")\nfound = model("photo.jpg", imgsz={facts.meta.imgsz})\n'
        'print(found.summary())\nfound.save("out")\n```\n\nOr on the command line:\n\n```\n'
        f"accel-yolo predict --weights {facts.repository} --source photo.jpg --imgsz {facts.meta.imgsz}\n```\n"
    )


def _results(facts: CardFacts) -> str:
    if facts.metrics is None:
        return "## Results\n\nNo measurement of these weights is recorded here.\n"
    metrics = facts.metrics
    split = f", {_SPLITS.get(facts.split, facts.split)} split" if facts.split else ""
    on = f"On {', '.join(facts.measured_on)}{split}" if facts.measured_on else "Data set not stated"
    counted = f"{metrics.get('images', '?')} images with {metrics.get('instances', '?')} objects"
    rows = [_row("all", metrics)]
    per_class = metrics.get("per_class", [])
    if len(per_class) > 1:
        rows += [_row(str(entry.get("name")), entry) for entry in per_class[:_MOST_CLASSES]]
    table = ["| class | objects | P | R | mAP50 | mAP50-95 |", "|---|---|---|---|---|---|", *rows]
    return f"## Results\n\n{on}, {counted}:\n\n" + "\n".join(table) + "\n"


def _row(name: str, entry: Mapping[str, Any]) -> str:
    values = [f"{float(entry[key]):.3f}" for key in ("precision", "recall", "map50", "map50_95")]
    return f"| {name.replace('|', '/')} | {entry.get('instances', '')} | " + " | ".join(values) + " |"


def _recipe(facts: CardFacts) -> str:
    if facts.run is None:
        return "## Training\n\nThe settings of the training are not recorded here; the provenance below is.\n"
    settings = {key: _bare(key, value) for key, value in _settings(facts.run).items() if key not in _NOT_RECIPE}
    recipe = dump_yaml({"settings": settings, "hyp": facts.run.get("hyp", {})})
    head = f"## Training\n\nOn {', '.join(data_names(facts.run))}, with these settings"
    return f"{head} (folders of the machine are left out):\n\n```yaml\n{recipe}```\n"


def _settings(run: Mapping[str, Any] | None) -> Mapping[str, Any]:
    settings = (run or {}).get("settings", {})
    return settings if isinstance(settings, Mapping) else {}


def _bare(key: str, value: Any) -> Any:
    """Return a setting that names files without their folders."""
    if key not in _PATHS:
        return value
    if isinstance(value, str):
        return PurePath(value).name
    return [PurePath(str(one)).name for one in value]


def _licence(meta: WeightsMeta) -> str:
    if meta.licence == UNSTATED:
        words = "Whoever trained these weights has not stated a licence: ask them before you use or pass them on."
    else:
        words = may_i_ship(meta.licence, meta.provenance)
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(meta.provenance, start=1)) or "Not recorded."
    return f"## Licence\n\n{words}\n\nThis is not legal advice.\n\n## Provenance\n\n{steps}\n"
