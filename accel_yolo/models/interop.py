"""Imports YOLOv5 `.pt` checkpoints without YOLOv5's code: what their pickle holds is read as inert data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from accel_yolo import console
from accel_yolo.errors import CheckpointError, ConfigError
from accel_yolo.files import sha256_file
from accel_yolo.models.blocks import BN_EPS
from accel_yolo.models.detector import Detector
from accel_yolo.models.foreign_names import CHILDREN
from accel_yolo.models.inert_pickle import Stub, TensorRecord
from accel_yolo.models.licence import AGPL, IMPORTED
from accel_yolo.models.own_note import own_note
from accel_yolo.models.spec import checked_spec
from accel_yolo.models.torch_archive import open_torch_archive
from accel_yolo.models.weights_meta import Weights, WeightsMeta, check_same_entries

MAX_MODULE_DEPTH = 32
DETECTORS = ("Model", "DetectionModel")
OTHER_TASKS = {"SegmentationModel": "segmentation", "ClassificationModel": "classification"}


def import_checkpoint(path: Path) -> Weights:
    """Return the weights of a YOLOv5 detection checkpoint in float32, the averaged ones where the file has both.

    One note says that the licence of the file goes along.

    Raises:
        CheckpointError: not such a file, damaged, of another architecture, or its pickle names something that is not
            on the list; nothing is executed in any case.
    """
    with open_torch_archive(path) as archive:
        root, holder = _model_of(archive.content, str(path))
        state = {key: _in_float32(archive.tensor(record)) for key, record in _entries(root, str(path))}
        names = _names(root, str(path))
        spec = _spec(root, str(path))
        recorded = root.get("stride")
        file_strides = archive.tensor(recorded).tolist() if isinstance(recorded, TensorRecord) else None
    try:
        with torch.device("meta"):
            expected = Detector(spec, names, where=f"{path}, model")
    except ConfigError as error:
        raise CheckpointError("its architecture cannot be built", str(path), error) from error
    check_same_entries(expected.state_dict(), state, str(path))
    if file_strides is not None and file_strides not in ([32.0], [float(s) for s in expected.strides]):
        raise CheckpointError("strides contradict the architecture", str(path), file_strides, str(expected.strides))
    anchors = state[next(key for key in state if key.endswith(".anchors"))]
    anchors_px = anchors * torch.tensor(expected.strides).view(-1, 1, 1)
    spec = {**expected.spec, "anchors": anchors_px.flatten(1).tolist()}
    meta = WeightsMeta(
        names=names,
        anchors_px=anchors_px.tolist(),
        strides=expected.strides,
        spec=spec,
        imgsz=_imgsz(archive.content, expected.strides),
        licence=AGPL,
        provenance=(_origin(path, archive.content, holder),),
    )
    note = own_note(archive.content, state, str(path))
    if note is not None:
        return Weights(state, replace(meta, licence=note.licence, provenance=note.provenance))
    console.note(f"{path.name} is a YOLOv5 checkpoint under {AGPL}; weights that come from it say so in their metadata")
    return Weights(state, meta)


def _model_of(content: Any, where: str) -> tuple[Stub, str]:
    """Return the stand-in of the model and the key it was under; the averaged weights come first."""
    holder = "the file itself"
    model = content
    if isinstance(content, dict):
        holder = "ema" if content.get("ema") is not None else "model"
        model = content.get(holder)
    if not isinstance(model, Stub):
        raise CheckpointError("holds no YOLOv5 model", where, remedy="a file with only a state dict cannot be imported")
    name = model.class_name
    if name in OTHER_TASKS:
        raise CheckpointError(
            f"{OTHER_TASKS[name]} models are not supported yet", where, remedy="give a detection model"
        )
    if name not in DETECTORS or not model.foreign.startswith("models.yolo."):
        raise CheckpointError("not a YOLOv5 detection model", where, model.foreign, "give a detection model")
    return model, holder


def _entries(module: Stub, where: str, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, TensorRecord]]:
    """Yield state-dict keys and records, depth first, parameters before buffers, as PyTorch orders them."""
    if depth > MAX_MODULE_DEPTH:
        raise CheckpointError("modules nested too deep", where, prefix[:80])
    if module.class_name == "BatchNorm2d" and abs(float(module.get("eps", BN_EPS)) - BN_EPS) > 1e-9:
        remedy = f"models of this family use {BN_EPS}"
        raise CheckpointError("a normalisation with another eps", f"{where}, {prefix}bn", module.get("eps"), remedy)
    for part in ("_parameters", "_buffers"):
        for name, value in module.part(part).items():
            # Before 2021-10 the head cached its anchors in px as a buffer; they follow from `anchors`.
            if value is None or name == "anchor_grid":
                continue
            if not isinstance(value, TensorRecord):
                raise CheckpointError("a parameter that is no tensor", where, f"{prefix}{name}"[:100])
            yield f"{prefix}{name}", value
    renamed = CHILDREN.get(module.class_name, {})
    for name, child in module.part("_modules").items():
        if isinstance(child, Stub):
            yield from _entries(child, where, f"{prefix}{renamed.get(name, name)}.", depth + 1)


def _in_float32(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _names(root: Stub, where: str) -> dict[int, str]:
    """Return class names, which were a list until 2022-08 and are a map since."""
    names = root.get("names")
    if isinstance(names, (list, tuple)):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or set(names) != set(range(len(names))):
        raise CheckpointError("class names are missing or not numbered from 0", where)
    return {number: str(names[number]) for number in range(len(names))}


def _spec(root: Stub, where: str) -> dict[str, Any]:
    content = root.get("yaml")
    if not isinstance(content, dict):
        raise CheckpointError("the description of the architecture (yaml) is missing", where)
    try:
        spec = checked_spec(content, f"{where}, yaml", strict=False)
    except ConfigError as error:
        raise CheckpointError("its architecture cannot be built", where, error) from error
    found = _activation(root)
    if found and "activation" not in spec:
        spec["activation"] = found
    return spec


def _activation(root: Stub) -> str | None:
    """Return the activation of the first layers that have one, None for SiLU: old models did not write it down."""
    layers = root.get("model")
    children = layers.part("_modules").values() if isinstance(layers, Stub) else ()
    for layer in children:
        act = layer.get("act") if isinstance(layer, Stub) else None
        if isinstance(act, Stub) and act.foreign.startswith("torch.nn.modules.activation."):
            if act.class_name == "SiLU":
                return None
            slope = act.get("negative_slope")
            return f"nn.{act.class_name}({slope if isinstance(slope, float) else ''})"
    return None


def _imgsz(content: Any, strides: tuple[int, ...]) -> int:
    options = content.get("opt") if isinstance(content, dict) else None
    imgsz = options.get("imgsz") if isinstance(options, dict) else None
    if type(imgsz) is int and 0 < imgsz <= 1 << 16:
        return imgsz
    return 1280 if max(strides) > 32 else 640


def _origin(path: Path, content: Any, holder: str) -> str:
    date = content.get("date") if isinstance(content, dict) else None
    day = re.match(r"\d{4}-\d\d-\d\d", date) if isinstance(date, str) else None
    dated = f", dated {day.group()}" if day else ""
    return f"{IMPORTED} {path.name} ({holder}; sha256 {sha256_file(path)}{dated})"
