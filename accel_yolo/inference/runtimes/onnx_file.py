"""What an ONNX file says about itself, read without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accel_yolo.errors import CheckpointError, first_line
from accel_yolo.inference.runtimes.description import Description, described, fitted
from accel_yolo.inference.runtimes.packages import optional


def described_onnx(path: Path) -> Description:
    """Return the description of an ONNX file.

    Raises:
        EnvironmentFault: the package onnx is not installed.
        CheckpointError: damaged, or not a detector of this family.
    """
    onnx = optional("onnx", "reading ONNX files")
    model = _read(path, onnx)
    if not model.graph.input or not model.graph.output:
        raise CheckpointError("damaged ONNX file", str(path), "no input or no output", "export it again")
    first = model.graph.input[0].type.tensor_type
    half = first.elem_type == onnx.TensorProto.FLOAT16
    shapes = (_sides(first), _sides(model.graph.output[0].type.tensor_type))
    return fitted(described(_entries(model), str(path)), *shapes, str(path), half=half)


def onnx_entries(path: Path) -> dict[str, str]:
    """Return the text entries of an ONNX file. Raises what `described_onnx` does."""
    return _entries(_read(path, optional("onnx", "reading ONNX files")))


def _read(path: Path, onnx: Any) -> Any:
    try:
        return onnx.load(str(path), load_external_data=False)
    except Exception as error:  # the protobuf library's own kinds
        raise CheckpointError("damaged ONNX file", str(path), first_line(error), "export it again") from error


def _entries(model: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def _sides(tensor: Any) -> list[Any]:
    return [side.dim_value if side.HasField("dim_value") else side.dim_param for side in tensor.shape.dim]
