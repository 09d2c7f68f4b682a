"""From an exported file to the network that runs it."""

from __future__ import annotations

from pathlib import Path

import torch

from accel_yolo.errors import ConfigError
from accel_yolo.inference.runtimes.exported import ExportedNetwork
from accel_yolo.inference.runtimes.kinds import ONNX, OPENVINO, TORCHSCRIPT


def open_exported(
    path: Path, kind: str, device: torch.device, precision: str = "auto", *, dnn: bool = False
) -> ExportedNetwork:
    """Return the network in an exported model.

    Args:
        path: the file or folder.
        kind: see `exported_kind`.
        device: where it is to run; OpenVINO and OpenCV run on the CPU.
        precision: "auto", or that of the file.
        dnn: OpenCV runs an ONNX file.

    Raises:
        EnvironmentFault: the runtime is not installed.
        CheckpointError: damaged, or not a detector of this family.
        ConfigError: another precision than that of the file, or `dnn` for another format.
    """
    if dnn and kind != ONNX:
        raise ConfigError("OpenCV runs ONNX files only", "--dnn", path, "give an .onnx file, or leave --dnn out")
    # Each imports its runtime, which takes a while.
    if dnn:
        from accel_yolo.inference.runtimes.opencv import OpenCvNetwork as Chosen
    elif kind == ONNX:
        from accel_yolo.inference.runtimes.onnx import OnnxNetwork as Chosen
    elif kind == TORCHSCRIPT:
        from accel_yolo.inference.runtimes.torchscript import TorchScriptNetwork as Chosen
    else:
        assert kind == OPENVINO
        from accel_yolo.inference.runtimes.openvino import OpenVinoNetwork as Chosen
    return Chosen(path, device, precision)
