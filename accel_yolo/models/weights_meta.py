"""What a weights file says about itself: names, anchors, architecture, and where the numbers come from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from accel_yolo.errors import CheckpointError, ConfigError
from accel_yolo.models.detector import Detector
from accel_yolo.models.licence import UNSTATED, checked_licence
from accel_yolo.models.spec import checked_spec

FORMAT = 1
MAX_JSON_CHARACTERS = 4 << 20


@dataclass(frozen=True)
class WeightsMeta:
    """Metadata of a weights file.

    Attributes:
        names: class number -> name.
        anchors_px: [L][A][2] widths and heights in network-input pixels.
        strides: input pixels per cell, per level.
        spec: the model YAML, with `nc` and `anchors` filled in.
        imgsz: image side the weights were trained for, px.
        licence: of the weights; follows them through fine-tuning and conversion.
        provenance: what was done, first step first.
    """

    names: dict[int, str]
    anchors_px: Sequence[Sequence[Sequence[float]]]
    strides: tuple[int, ...]
    spec: dict[str, Any]
    imgsz: int
    licence: str = UNSTATED
    provenance: tuple[str, ...] = ()

    @classmethod
    def of(cls, detector: Detector, imgsz: int, step: str) -> WeightsMeta:
        """Return the metadata of a detector that starts from scratch; `step` says how it came about."""
        return cls(
            dict(detector.names),
            detector.anchors_px.tolist(),
            detector.strides,
            detector.spec,
            imgsz,
            provenance=(step,),
        )

    def derived(self, step: str, detector: Detector | None = None, imgsz: int | None = None) -> WeightsMeta:
        """Return the metadata of weights made from these: same licence, one more step of provenance.

        Args:
            step: what was done, such as "fine-tuned on coco128.yaml, 3 epochs".
            detector: the new detector, if names, anchors or architecture changed.
            imgsz: the new image side, px, if it changed.
        """
        chain = {"licence": self.licence, "provenance": (*self.provenance, step)}
        side = self.imgsz if imgsz is None else imgsz
        if detector is None:
            return dataclasses.replace(self, imgsz=side, **chain)
        return dataclasses.replace(WeightsMeta.of(detector, side, step), **chain)

    def to_json(self) -> str:
        """Return the metadata as one JSON object, keys sorted."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        names = [self.names[number] for number in range(len(self.names))]
        return escaped_json({**fields, "names": names, "format": FORMAT})

    @classmethod
    def from_json(cls, text: str, where: str) -> WeightsMeta:
        """Return the metadata in a JSON object that `to_json` wrote.

        Raises:
            CheckpointError: not such an object, a newer format, or a value of the wrong kind.
        """
        try:
            if len(text) > MAX_JSON_CHARACTERS:
                raise ValueError(f"{len(text)} characters")
            fields = json.loads(text)
            version = fields.pop("format")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError("unreadable metadata", where, str(error)[:100], "get the file again") from error
        if version != FORMAT:
            raise CheckpointError(
                "metadata of another format", where, repr(version)[:40], f"this version reads {FORMAT}"
            )
        try:
            return cls._checked(fields, where)
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise CheckpointError("wrong metadata", where, str(error)[:200], "get the file again") from error

    @classmethod
    def _checked(cls, fields: Any, where: str) -> WeightsMeta:
        names, strides, provenance = fields["names"], fields["strides"], fields["provenance"]
        for key, values, kind in (("names", names, str), ("strides", strides, int), ("provenance", provenance, str)):
            if not isinstance(values, list) or not all(type(value) is kind for value in values):
                raise ValueError(f"'{key}' is no list of {kind.__name__}")
        if type(fields["imgsz"]) is not int or not isinstance(fields["licence"], str) or not names:
            raise ValueError("'imgsz', 'licence' or 'names'")
        anchors = [[[float(w), float(h)] for w, h in level] for level in fields["anchors_px"]]
        return cls(
            dict(enumerate(names)),
            anchors,
            tuple(strides),
            checked_spec(fields["spec"], where),
            fields["imgsz"],
            checked_licence(fields["licence"], provenance, where),
            tuple(provenance),
        )


def escaped_json(fields: Mapping[str, Any]) -> str:
    """Return a JSON object in UTF-8, keys sorted."""
    text = json.dumps(fields, sort_keys=True, ensure_ascii=False)
    # Provenance names files, whose names need not be UTF-8: what is not becomes JSON's own escape.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True)
class Weights:
    """A state dict (float32, CPU) and what its file says about it."""

    state: dict[str, Tensor]
    meta: WeightsMeta


def check_same_entries(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str) -> None:
    """Check that `found` has exactly the keys and shapes of `expected`.

    Raises:
        CheckpointError: naming the first ten differences.
    """
    differences = [f"{key} missing" for key in expected if key not in found]
    differences += [f"{key} unexpected" for key in found if key not in expected]
    differences += [
        f"{key} {list(found[key].shape)} instead of {list(value.shape)}"
        for key, value in expected.items()
        if key in found and found[key].shape != value.shape
    ]
    if differences:
        shown = ", ".join(differences[:10]) + (f" and {len(differences) - 10} more" if len(differences) > 10 else "")
        raise CheckpointError("weights do not fit their architecture", where, shown, "get the file again")
