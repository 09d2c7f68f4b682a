"""What an exported file says about itself: text entries, written at export and read by the runtimes, without torch.

Three entries: `stride` and `names` as YOLOv5 writes them (a number and a Python dict in text), and `accel_yolo`, one
JSON object with the metadata of the weights (names, licence, provenance, ...) and, under `export`, what was exported.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accel_yolo.errors import CheckpointError
from accel_yolo.inference.exported_meta import KEY, ExportedMeta

STRIDE, NAMES = "stride", "names"
INPUT, OUTPUT = "images", "output0"
"""The names of the one input and the one output, as YOLOv5's exports have them."""

BOX_COLUMNS, DETECTION_COLUMNS = 5, 6
"""cx, cy, w, h, objectness before the classes; x1, y1, x2, y2, confidence, class after NMS in the graph."""

_FOREIGN = "give a file that `accel-yolo export` or YOLOv5's export.py wrote"


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

    Raises:
        CheckpointError: entries of the wrong kind.
    """
    meta = ExportedMeta.of_properties(entries, where)
    try:
        names = {number: meta.names[number] for number in range(len(meta.names))}
        # What of_properties has read is an object.
        export = json.loads(entries.get(KEY, "{}")).get("export", {})
        return Description(
            names=names,
            strides=meta.strides,
            hw=None if export.get("hw") is None else _size(export["hw"]),
            batch=None if export.get("batch") is None else int(export["batch"]),
            imgsz=meta.imgsz,
            half=bool(export.get("half")),
            nms=None if export.get("nms") is None else NmsInGraph(**export["nms"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__} {error}"[:100]
        raise CheckpointError("unreadable metadata", where, what, "export the model again") from error


def _size(hw: Any) -> tuple[int, int]:
    height, width = hw
    return int(height), int(width)


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
        raise CheckpointError("not a detector of this family", where, shapes, _FOREIGN)
    columns = output_shape[2]
    names = description.names
    if isinstance(columns, int) and description.nms is None:
        if not names:
            names = {number: f"class{number}" for number in range(columns - BOX_COLUMNS)}
        if columns != BOX_COLUMNS + len(names) or not names:
            what = f"output {shown(output_shape)} with {len(names)} class names"
            raise CheckpointError("not a detector of this family", where, what, _FOREIGN)
    batch, _, height, width = (side if isinstance(side, int) and side > 0 else None for side in input_shape)
    hw = None if height is None or width is None else (height, width)
    side = description.imgsz if hw is None else max(hw)
    return dataclasses.replace(description, names=names, hw=hw, batch=batch, imgsz=side, half=half)


def shown(shape: list[Any]) -> str:
    """Return a shape as people read it: "1x3x?x?"."""
    return "x".join(str(side) if isinstance(side, int) and side >= 0 else "?" for side in shape) or "none"
