"""Which runtime a file or folder is for, told by content where that is cheap; torch is not needed for that."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path

from accel_yolo.config.export_schema import ONNX, OPENVINO, TORCHSCRIPT
from accel_yolo.errors import CheckpointError

_ELSEWHERE = {
    ".engine": "a TensorRT engine",
    ".mlmodel": "a Core ML model",
    ".mlpackage": "a Core ML model",
    ".tflite": "a TensorFlow Lite model",
    ".pb": "a TensorFlow graph",
    ".pdmodel": "a Paddle model",
    "_saved_model": "a TensorFlow SavedModel",
    "_web_model": "a TensorFlow.js model",
    "_paddle_model": "a Paddle model",
    "_ncnn_model": "an NCNN model",
}
_SNIFFED_BYTES = 512


def exported_kind(path: Path) -> str:
    """Return "onnx", "torchscript" or "openvino" for an exported model, "" for anything else.

    Raises:
        CheckpointError: a model of a runtime that is not supported.
    """
    with contextlib.suppress(OSError, ValueError):
        if path.is_dir():
            return _kind_of_folder(path)
        if path.is_file():
            return _kind_of_file(path)
    return ""


def _kind_of_folder(path: Path) -> str:
    _refuse_elsewhere(path)
    return OPENVINO if any(path.glob("*.xml")) else ""


def _kind_of_file(path: Path) -> str:
    with path.open("rb") as stream:
        start = stream.read(_SNIFFED_BYTES)
    if start.startswith(b"PK"):
        return TORCHSCRIPT if _holds_program(path) else ""
    if path.suffix == ".torchscript":
        raise CheckpointError("not a TorchScript file", str(path), f"{path.stat().st_size} bytes", "export it again")
    if path.suffix == ".xml" and b"<net" in start:
        return OPENVINO
    if path.suffix == ".onnx":
        return ONNX
    _refuse_elsewhere(path)
    return ""


def _holds_program(path: Path) -> bool:
    """Return whether a zip file is a TorchScript archive: data beside the text of a program."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        if path.suffix == ".torchscript":
            raise CheckpointError("damaged TorchScript file", str(path), remedy="export it again") from None
        return False
    return any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names)


def _refuse_elsewhere(path: Path) -> None:
    for ending, title in _ELSEWHERE.items():
        if path.name.endswith(ending):
            raise CheckpointError(f"{title} cannot be run here", str(path), remedy="give the .onnx export of the model")
