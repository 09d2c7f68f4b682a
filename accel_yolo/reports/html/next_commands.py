"""What can be done next with a run, as commands to copy."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from accel_yolo.reports.html.run import Run
from accel_yolo.reports.html.status import INTERRUPTED, RUNNING
from accel_yolo.shell import from_here

_PLACEHOLDER = "path/to/images"


def next_commands(run: Run, state: str) -> list[tuple[str, str]]:
    """Return pairs of a purpose and the command for it."""
    settings = run.settings.content
    folder = str(from_here(run.folder))
    if not run.is_training:
        weights = settings.words("weights") if settings is not None else []
        predict = [("Look at what they find:", _command("predict", "--weights", *weights, *_source(run), *_side(run)))]
        return [*(predict if weights else []), ("Make this report again:", _command("report", folder))]
    best = os.path.join(folder, "weights", "best.safetensors")  # noqa: PTH118 (a text to show, not a path to open)
    data = settings.words("data") if settings is not None else []
    classes = settings.words("classes") if settings is not None else []
    chosen = ["--classes", *classes] if classes else []
    single = ["--single-cls"] if settings is not None and settings.value("single_cls") is True else []
    rows: list[tuple[str, str]] = []
    if state in (RUNNING, INTERRUPTED):
        going_on = (
            "Continue it, from its newest checkpoint:" if state == INTERRUPTED else "Continue it, once it has ended:"
        )
        rows.append((going_on, _command("train", "--resume", folder)))
    if data:
        measured = _command("val", "--weights", best, "--data", *data, *_side(run), *single, *chosen)
        rows.append(("Measure the best weights again:", measured))
    rows += [
        ("Look at what they find:", _command("predict", "--weights", best, *_source(run), *_side(run))),
        ("Give them to another runtime:", _command("export", "--weights", best, "--include", "onnx")),
        ("Make this report again, or compare with another run:", _command("report", folder)),
    ]
    return rows


def _command(*words: str) -> str:
    return shlex.join(["accel-yolo", *words])


def _side(run: Run) -> list[str]:
    side = run.settings.content.whole("imgsz") if run.settings.content is not None else None
    return ["--imgsz", str(side)] if side is not None else []


def _source(run: Run) -> list[str]:
    """Return the flag of images to look at: those of the validation set, where its worst images say where it is."""
    _, *rows = run.worst.content or [[]]
    folder = str(Path(rows[0][0]).parent) if rows and rows[0] else ""
    return ["--source", str(from_here(Path(folder))) if folder else _PLACEHOLDER]
