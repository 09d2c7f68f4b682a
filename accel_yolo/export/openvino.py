"""OpenVINO, from the ONNX graph, which its own reader takes.

`openvino.convert_model` would do the same after sending a message about it to its makers; reading and saving do not.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from accel_yolo.export.onnx import write_onnx
from accel_yolo.export.request import ExportRequest
from accel_yolo.inference.runtimes.packages import optional


def write_openvino(request: ExportRequest, folder: Path) -> None:
    """Write the .xml and the .bin of a detector into a folder that exists; half stores the weights in float16.

    The input is float32 in either case.

    Raises:
        EnvironmentFault: a package is missing.
    """
    openvino = optional("openvino", "exporting to OpenVINO")
    beside = folder / "model.onnx"
    write_onnx(dataclasses.replace(request, half=False) if request.half else request, beside)
    model = openvino.Core().read_model(beside)
    beside.unlink()
    entries = request.entries(request.description(half=False), "openvino")
    for name, value in entries.items():
        model.set_rt_info(value, name)
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=request.half)
