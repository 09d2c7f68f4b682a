"""The metadata of the weights in an exported model, read without running the model."""

from __future__ import annotations

import zipfile
from pathlib import Path

from accel_yolo.errors import CheckpointError
from accel_yolo.inference.runtimes.description import KEY
from accel_yolo.inference.runtimes.kinds import ONNX, TORCHSCRIPT, exported_kind
from accel_yolo.models.weights_meta import WeightsMeta


def load_meta(path: Path) -> WeightsMeta:
    """Return what the weights in an exported model say about themselves.

    Args:
        path: a file or folder that `exported_kind` knows.

    Raises:
        CheckpointError: damaged, or not an export of ours.
        EnvironmentFault: the package that reads the format is not installed.
    """
    text = exported_entries(path).get(KEY)
    if text is None:
        remedy = "files that YOLOv5 exported name their classes only: ask whoever gave it to you"
        raise CheckpointError("nothing about licence and provenance", str(path), remedy=remedy)
    return WeightsMeta.from_json(text, str(path))


def exported_entries(path: Path) -> dict[str, str]:
    """Return the text entries of an exported model. Raises what `load_meta` does."""
    # Each imports its runtime, which takes a while.
    kind = exported_kind(path)
    if kind == ONNX:
        from accel_yolo.inference.runtimes.onnx_file import onnx_entries

        return onnx_entries(path)
    if kind == TORCHSCRIPT:
        return _torchscript_entries(path)
    from accel_yolo.inference.runtimes.openvino import openvino_entries, openvino_file, read_openvino

    graph = openvino_file(path)
    return openvino_entries(graph, read_openvino(graph))


def _torchscript_entries(path: Path) -> dict[str, str]:
    from accel_yolo.inference.runtimes.torchscript import CONFIG, torchscript_config, torchscript_entries

    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(f"/extra/{CONFIG}")]
            text = archive.read(names[0]) if names else b""
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError("damaged TorchScript file", str(path), str(error)[:100], "export it again") from error
    return torchscript_entries(torchscript_config(text, str(path)))
