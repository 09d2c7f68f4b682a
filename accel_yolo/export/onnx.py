"""ONNX, by torch's current exporter (`torch.export`, then ONNX).

Why this one and not the older one that follows a trace: its graph is smaller (yolov5n at 640 px: 242 nodes against
429), sizes that are dynamic are proven to be so instead of being numbers that a trace happened to see, and it is the
one that torch keeps. It costs seconds instead of half a second, and writes opset 18 or later: older ones are made
from that, and refused where the graph has no equal.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from accel_yolo.errors import ConfigError
from accel_yolo.export.exported import ExportedDetector
from accel_yolo.export.onnx_nms import with_nms
from accel_yolo.export.request import ExportRequest
from accel_yolo.inference.runtimes.description import INPUT, OUTPUT
from accel_yolo.inference.runtimes.packages import optional

_OWN_OPSET, _LEAST_CONVERTED = 18, 15
_NO_REGION = "no_region"
_UNCHANGED = """
    Add Clip Concat Conv Div Gather HardSigmoid HardSwish LeakyRelu MaxPool Mul Relu Reshape Resize Sigmoid Slice
    Softplus Sub Tanh Transpose
"""
"""Operators that mean the same since opset 12 in float32: later versions only take more types."""


def write_onnx(request: ExportRequest, path: Path) -> None:
    """Write an ONNX file.

    Args:
        request: what to write.
        path: the file; it is replaced.

    Raises:
        EnvironmentFault: a package is missing.
        ConfigError: the graph cannot be had in this opset.
    """
    onnx = optional("onnx", "exporting to ONNX")
    optional("onnxscript", "exporting to ONNX")
    model = _at_opset(onnx_graph(request), request)
    if request.nms is not None:
        model = with_nms(model, request.nms, len(request.detector.names))
    if request.simplify:
        model = optional("onnxslim", "--simplify").slim(model)
    description = request.description(half=request.half)
    del model.metadata_props[:]
    for key, value in request.entries(description, "onnx").items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name = "accel_yolo"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def onnx_graph(request: ExportRequest) -> Any:
    """Return the `onnx.ModelProto` of a detector without NMS, opset 18 or later."""
    return optional("onnx", "exporting to ONNX").load_from_string(_exported(request))


@functools.lru_cache(maxsize=1)
def _exported(request: ExportRequest) -> bytes:
    """Return the graph as a file holds it; the last one is kept: formats that are asked for at once share it."""
    network = ExportedDetector(request.detector, half=request.half)
    sizes = None
    if request.dynamic:
        cells = [torch.export.Dim(f"{side}_cells", min=1) for side in ("height", "width")]
        sizes = {INPUT: {0: torch.export.Dim("batch"), 2: request.stride * cells[0], 3: request.stride * cells[1]}}
    with _quiet(request.verbose):
        program = torch.onnx.export(
            network,
            (request.example(half=request.half),),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=max(request.opset, _OWN_OPSET),
            dynamo=True,
            dynamic_shapes=sizes,
            external_data=False,
            verbose=request.verbose,
        )
    assert program is not None
    model = program.model_proto
    _name_sizes(model, request.dynamic)
    return model.SerializeToString()


def _name_sizes(model: Any, dynamic: bool) -> None:
    """Give the dynamic sizes the names of YOLOv5's exports, and drop what only the exporter reads."""
    graph = model.graph
    for item in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del item.metadata_props[:]
    del graph.metadata_props[:]
    if not dynamic:
        return
    # Intermediate shapes are formulas of the old names; every runtime infers them anew.
    del graph.value_info[:]
    for tensor, names in (
        (graph.input[0], {0: "batch", 2: "height", 3: "width"}),
        (graph.output[0], {0: "batch", 1: "anchors"}),
    ):
        for place, name in names.items():
            tensor.type.tensor_type.shape.dim[place].dim_param = name


def _at_opset(model: Any, request: ExportRequest) -> Any:
    """Return the graph in the opset that is asked for. Raises ConfigError."""
    asked = request.opset
    if asked >= _OWN_OPSET:
        return model
    onnx = optional("onnx", "exporting to ONNX")
    remedy = f"use --opset {_LEAST_CONVERTED} or later" + (", or leave --dynamic out" if request.dynamic else "")
    try:
        model = onnx.version_converter.convert_version(model, max(asked, _LEAST_CONVERTED))
        if asked < _LEAST_CONVERTED:
            _relabel(model, asked, half=request.half)
        onnx.checker.check_model(model, full_check=True)
    except (RuntimeError, ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConfigError("this network has no form in that version of ONNX", "--opset", asked, remedy) from error
    return model


def _relabel(model: Any, opset: int, *, half: bool) -> None:
    """Declare a graph to be of an older opset, where all its operators mean the same there. Raises ValueError."""
    newer = {node.op_type for node in model.graph.node} - set(_UNCHANGED.split())
    if newer or half:
        raise ValueError(f"{sorted(newer)}")
    for node in model.graph.node:
        if node.op_type == "Reshape":  # an attribute of opset 14, about sizes of 0, of which there are none
            del node.attribute[:]
        if node.op_type == "Resize" and not node.input[1]:  # optional from opset 13 on
            node.input[1] = _NO_REGION
    onnx = optional("onnx", "exporting to ONNX")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(0, np.float32), _NO_REGION))
    (entry,) = model.opset_import
    entry.version = opset


@contextlib.contextmanager
def _quiet(verbose: bool) -> Iterator[None]:
    """Keep the exporter from speaking: it reports its stages to stdout and remarks on its own internals."""
    if verbose:
        yield
        return
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
