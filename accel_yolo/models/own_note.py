"""What a `.pt` file that this project wrote says about its weights: licence and provenance, bound to the numbers.

YOLOv5 ignores the note but copies it along when it shortens a checkpoint, so the note names a digest of the weights it
is about. A note that does not fit the weights beside it counts for nothing: the file is then a YOLOv5 checkpoint like
any other. A note is a statement, not a proof; so is every metadata of a weights file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from accel_yolo import console
from accel_yolo.models.licence import AGPL, KEY, checked_licence
from accel_yolo.models.weights_meta import MAX_JSON_CHARACTERS, Weights, escaped_json

NOTE_FORMAT = 1


@dataclass(frozen=True)
class Note:
    """Licence and provenance of the weights of a `.pt` file."""

    licence: str
    provenance: tuple[str, ...]


def note_text(weights: Weights) -> str:
    """Return the note about weights, one JSON object."""
    fields = {
        "format": NOTE_FORMAT,
        "licence": weights.meta.licence,
        "provenance": list(weights.meta.provenance),
        "sha256": digest(weights.state),
    }
    return escaped_json(fields)


def own_note(content: Any, state: Mapping[str, Tensor], where: str) -> Note | None:
    """Return the note in the inert content of a `.pt` file; None without one, or with one that is not about `state`."""
    text = content.get(KEY) if isinstance(content, dict) else None
    if text is None:
        return None
    try:
        if not isinstance(text, str) or len(text) > MAX_JSON_CHARACTERS:
            raise ValueError("no text of that length")
        fields = json.loads(text)
        steps, licence = fields["provenance"], fields["licence"]
        if fields["format"] != NOTE_FORMAT or not isinstance(licence, str) or not isinstance(steps, list):
            raise ValueError("another form")
        if not all(isinstance(step, str) for step in steps):
            raise ValueError("provenance")
        if fields["sha256"] != digest(state):
            raise ValueError("weights have changed")
    except (ValueError, KeyError, TypeError, RecursionError):
        console.warn(f"{where} has a note of accel_yolo that is not about these weights; taken as {AGPL}, like any .pt")
        return None
    return Note(checked_licence(licence, steps, where), tuple(steps))


def digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, shapes and values of a state dict, floating-point values as float16.

    Half precision, because that is what YOLOv5 stores when it shortens a checkpoint: those are the same weights still.
    """
    found = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        value = value.half() if value.is_floating_point() else value.to(torch.int64)
        found.update(f"{key} {tuple(value.shape)} {value.dtype}\n".encode("utf-8", "surrogatepass"))
        found.update(value.numpy().tobytes())
    return found.hexdigest()
