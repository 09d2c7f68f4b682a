"""What an exported model says about itself, in every format the same; read and written here, without torch."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accel_yolo.errors import CheckpointError

KEY = "accel_yolo"
"""The property that holds everything, as one JSON object; `names` and `stride` are those that YOLOv5 writes."""

MAX_CHARACTERS = 4 << 20


@dataclass(frozen=True)
class ExportedMeta:
    """Metadata of an exported model.

    Attributes:
        names: class number -> name; empty where the file does not say.
        strides: input pixels per cell, per level (of a foreign export only the largest is known).
        imgsz: image side the weights were made for, px.
        licence: of the weights.
        provenance: what was done, first step first.
    """

    names: dict[int, str] = dataclasses.field(default_factory=dict)
    strides: tuple[int, ...] = (32,)
    imgsz: int = 640
    licence: str = "not stated"
    provenance: tuple[str, ...] = ()

    def to_properties(self) -> dict[str, str]:
        """Return the properties to store in a file: those that users of YOLOv5 look for, and ours."""
        fields = {**dataclasses.asdict(self), "names": [self.names[number] for number in range(len(self.names))]}
        text = json.dumps(fields, sort_keys=True, ensure_ascii=True)
        return {"names": repr(self.names), "stride": str(max(self.strides)), KEY: text}

    @classmethod
    def of_properties(cls, properties: Mapping[str, str], where: str) -> ExportedMeta:
        """Return what the properties of a file say: ours, else those of an export by YOLOv5.

        Args:
            properties: texts by name; nothing in them is executed.
            where: the file, for messages.

        Raises:
            CheckpointError: a value of the wrong kind.
        """
        try:
            if sum(map(len, properties.values())) > MAX_CHARACTERS:
                raise ValueError("too long")
            if KEY in properties:
                return cls._checked(json.loads(properties[KEY]))
            return cls._foreign(properties)
        except (ValueError, KeyError, TypeError, SyntaxError, AttributeError, RecursionError, MemoryError) as error:
            reason = str(error)[:100] or type(error).__name__
            raise CheckpointError("unreadable metadata", where, reason, "export the model again") from error

    @classmethod
    def _checked(cls, fields: Mapping[str, Any]) -> ExportedMeta:
        names, strides, provenance = fields["names"], fields["strides"], fields.get("provenance", [])
        for key, values, kind in (("names", names, str), ("strides", strides, int), ("provenance", provenance, str)):
            if not isinstance(values, list) or not all(type(value) is kind for value in values):
                raise ValueError(f"'{key}' is no list of {kind.__name__}")
        imgsz, licence = fields["imgsz"], fields["licence"]
        if type(imgsz) is not int or not isinstance(licence, str) or not strides or min(strides) < 1:
            raise ValueError("'imgsz', 'licence' or 'strides'")
        return cls(dict(enumerate(names)), tuple(strides), imgsz, licence, tuple(provenance))

    @classmethod
    def _foreign(cls, properties: Mapping[str, str]) -> ExportedMeta:
        named = ast.literal_eval(properties.get("names", "{}"))
        numbered = enumerate(named) if isinstance(named, (list, tuple)) else named.items()
        names = {int(number): name for number, name in numbered}  # in JSON, numbers of names are texts
        if sorted(names) != list(range(len(names))) or not all(isinstance(name, str) for name in names.values()):
            raise ValueError("'names'")
        stride = int(float(properties.get("stride", "32")))
        if stride < 1:
            raise ValueError("'stride'")
        return cls(names, (stride,))
