"""What an exported file says about itself: text entries, written at export and read by the runtimes, without torch.

Three entries: `stride` and `names` as YOLOv5 writes them (a number and a Python dict in text), and `accel_yolo`, one
JSON object with the metadata of the weights (names, licence, provenance, ...) and, under `export`, what was exported.
"""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from accel_yolo.errors import CheckpointError, ConfigError

KEY, STRIDE, NAMES = "accel_yolo", "stride", "names"
MAX_CHARACTERS = 4 << 20
"""Of all entries together: metadata that is longer is not read."""

INPUT, OUTPUT = "images", "output0"
"""The names of the one input and the one output, as YOLOv5's exports have them."""
LARGEST = 1 << 24
"""No size, stride, batch or number of detections is larger."""

BOX_COLUMNS, DETECTION_COLUMNS = 5, 6
"""cx, cy, w, h, objectness before the classes; x1, y1, x2, y2, confidence, class after NMS in the graph."""

FOREIGN = "give a file that `accel-yolo export` or YOLOv5's export.py wrote"


@dataclass(frozen=True)
class NmsInGraph:
    """The non-maximum suppression that is part of an exported graph.

    Attributes:
        conf_thres: only detections above this confidence.
        iou_thres: a box that overlaps a better one of its class by more than this goes.
        max_det: rows of each image; missing ones are zeros.
        per_class: at most so many of each class (of all classes together when agnostic).
        agnostic: boxes of different classes suppress each other too.
    """

    conf_thres: float = 0.25
    iou_thres: float = 0.45
    max_det: int = 100
    per_class: int = 100
    agnostic: bool = False


@dataclass(frozen=True)
class Description:
    """What a runtime needs to know of an exported file.

    Attributes:
        names: class number -> name; empty where the file does not say it.
        strides: input pixels per cell, per level (of a YOLOv5 export only the largest is known).
        hw: the only input size (height, width), px; None takes any multiple of the largest stride.
        batch: the only number of images; None takes any.
        imgsz: image side it was made for, px.
        half: the input is float16.
        nms: the suppression in the graph; None is none.
    """

    names: dict[int, str]
    strides: tuple[int, ...]
    hw: tuple[int, int] | None = None
    batch: int | None = None
    imgsz: int = 640
    half: bool = False
    nms: NmsInGraph | None = None

    @property
    def columns(self) -> int:
        """Columns of the table that it answers with."""
        return BOX_COLUMNS + len(self.names) if self.nms is None else DETECTION_COLUMNS

    def require_precision(self, precision: str, where: str) -> None:
        """Check that a precision is "auto" or that of the file. Raises ConfigError."""
        own = "fp16" if self.half else "fp32"
        if precision not in ("auto", own):
            again = f"export again {'without' if self.half else 'with'} --half"
            remedy = f"leave --half and --precision out, or {again}"
            raise ConfigError(f"an exported model has its own precision, {own}", where, precision, remedy)

    def entries(self, weights_json: str, form: str) -> dict[str, str]:
        """Return the entries to write.

        Args:
            weights_json: the metadata of the weights, an object in JSON.
            form: name of the format.
        """
        export = {
            "format": form,
            "hw": None if self.hw is None else list(self.hw),
            "batch": self.batch,
            "dynamic": self.hw is None,
            "half": self.half,
            "nms": None if self.nms is None else dataclasses.asdict(self.nms),
        }
        ours = json.dumps({**json.loads(weights_json), "export": export}, sort_keys=True)
        return {STRIDE: str(max(self.strides)), NAMES: str(self.names), KEY: ours}


def described(entries: Mapping[str, str], where: str) -> Description:
    """Return the description in the entries of a file of ours, or of YOLOv5.

    Args:
        entries: texts by name; nothing in them is executed.
        where: the file, for messages.

    Raises:
        CheckpointError: entries of the wrong kind.
    """
    try:
        if sum(map(len, entries.values())) > MAX_CHARACTERS:
            raise ValueError("too long")
        return _ours(json.loads(entries[KEY])) if KEY in entries else _foreign(entries)
    except (
        ValueError, KeyError, TypeError, SyntaxError, AttributeError, ArithmeticError, RecursionError, MemoryError
    ) as error:  # fmt: skip
        what = f"{type(error).__name__} {error}"[:100]
        raise CheckpointError("unreadable metadata", where, what, "export the model again") from error


def _ours(fields: Mapping[str, Any]) -> Description:
    """Return what the object of ours says. Raises ValueError, KeyError, TypeError or AttributeError."""
    names = _listed("names", fields["names"], str)
    strides = _listed("strides", fields["strides"], int)
    export = fields.get("export", {})
    hw, batch, nms = export.get("hw"), export.get("batch"), export.get("nms")
    sides = None if hw is None else [_whole("hw", side) for side in _listed("hw", hw, int)]
    if not strides or (sides is not None and len(sides) != 2):
        raise ValueError("'strides' or 'hw'")
    return Description(
        names=dict(enumerate(names)),
        strides=tuple(_whole("strides", stride) for stride in strides),
        hw=None if sides is None else (sides[0], sides[1]),
        batch=None if batch is None else _whole("batch", batch),
        imgsz=_whole("imgsz", fields["imgsz"]),
        half=_switch("half", export.get("half", False)),
        nms=None if nms is None else _suppression(nms),
    )


def _foreign(entries: Mapping[str, str]) -> Description:
    """Return what the entries of YOLOv5 say. Raises what `described` catches."""
    named = ast.literal_eval(entries.get(NAMES, "{}"))
    numbered = enumerate(named) if isinstance(named, (list, tuple)) else named.items()
    names = {int(number): name for number, name in numbered}  # in JSON, numbers of names are texts
    if sorted(names) != list(range(len(names))) or not all(isinstance(name, str) for name in names.values()):
        raise ValueError("'names'")
    names = {number: names[number] for number in range(len(names))}
    return Description(names, (_whole(STRIDE, int(float(entries.get(STRIDE, "32")))),))


def _suppression(fields: Mapping[str, Any]) -> NmsInGraph:
    kinds: dict[str, Callable[[str, Any], Any]] = {
        "conf_thres": _share,
        "iou_thres": _share,
        "max_det": _whole,
        "per_class": _whole,
        "agnostic": _switch,
    }
    if set(fields) != set(kinds):
        raise ValueError(f"'nms' of {sorted(fields)}")
    return NmsInGraph(**{name: check(name, fields[name]) for name, check in kinds.items()})


def _listed(name: str, values: Any, kind: type) -> list[Any]:
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise ValueError(f"'{name}' is no list of {kind.__name__}")
    return values


def _whole(name: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= LARGEST:
        raise ValueError(f"'{name}' {value}")
    return value


def _share(name: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError(f"'{name}' {value}")
    return float(value)


def _switch(name: str, value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"'{name}' {value}")
    return value


def fitted(
    description: Description, input_shape: list[Any], output_shape: list[Any], where: str, *, half: bool = False
) -> Description:
    """Return a description completed by the shapes of a graph, which have the last word about sizes.

    Args:
        description: from the metadata.
        input_shape: of the one input; whole numbers where they are fixed, anything else where they are not.
        output_shape: of the first output.
        where: the file, for messages.
        half: whether the input is float16.

    Raises:
        CheckpointError: not a detector of this family.
    """
    if len(input_shape) != 4 or input_shape[1] != 3 or len(output_shape) != 3:
        shapes = f"input {shown(input_shape)}, output {shown(output_shape)}"
        raise CheckpointError("not a detector of this family", where, shapes, FOREIGN)
    columns = output_shape[2]
    names = description.names
    wrong_rows = isinstance(columns, int) and columns not in (-1, DETECTION_COLUMNS)
    if description.nms is not None and (wrong_rows or not names):
        what = f"NMS in the graph with output {shown(output_shape)} and {len(names)} class names"
        raise CheckpointError("not a detector of this family", where, what, FOREIGN)
    if isinstance(columns, int) and description.nms is None:
        if not names:
            names = {number: f"class{number}" for number in range(columns - BOX_COLUMNS)}
        if columns != BOX_COLUMNS + len(names) or not names:
            what = f"output {shown(output_shape)} with {len(names)} class names"
            raise CheckpointError("not a detector of this family", where, what, FOREIGN)
    batch, _, height, width = (side if isinstance(side, int) and side > 0 else None for side in input_shape)
    hw = None if height is None or width is None else (height, width)
    side = description.imgsz if hw is None else max(hw)
    return dataclasses.replace(description, names=names, hw=hw, batch=batch, imgsz=side, half=half)


def shown(shape: list[Any]) -> str:
    """Return a shape as people read it: "1x3x?x?"."""
    return "x".join(str(side) if isinstance(side, int) and side >= 0 else "?" for side in shape) or "none"
