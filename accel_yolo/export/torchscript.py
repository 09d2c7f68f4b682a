"""TorchScript, by tracing."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch

from accel_yolo.export.exported import ExportedDetector
from accel_yolo.export.request import ExportRequest
from accel_yolo.inference.runtimes.description import KEY, NAMES
from accel_yolo.inference.runtimes.torchscript import CONFIG


def write_torchscript(request: ExportRequest, path: Path) -> None:
    """Write a TorchScript file that takes any batch and any size in whole strides, whatever was asked for.

    Beside the program it holds YOLOv5's `config.txt`, a JSON object with shape, stride and names, and in the same
    object ours.
    """
    network = ExportedDetector(request.detector, half=request.half, relative_grid=True)
    example = request.example(half=request.half)
    entries = request.entries(request.description(half=request.half, dynamic=True), "torchscript")
    config = {
        "shape": list(example.shape),
        "stride": max(request.detector.strides),
        NAMES: request.detector.names,
        KEY: json.loads(entries[KEY]),
    }
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")  # torch advises against TorchScript, on each call
        program: Any = torch.jit.trace(network, example, strict=False, check_trace=False)
        program.save(str(path), _extra_files={CONFIG: json.dumps(config)})
