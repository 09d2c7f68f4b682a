"""Non-maximum suppression as part of an ONNX graph, from standard operators only, in forms that opset 12 has."""

# B images, N predictions per image, C classes, K rows per image

from __future__ import annotations

from typing import Any

import numpy as np

from accel_yolo.inference.runtimes.description import OUTPUT, NmsInGraph
from accel_yolo.inference.runtimes.packages import optional

_DECODED = "decoded"
_LARGEST = np.iinfo(np.int64).max


def with_nms(model: Any, options: NmsInGraph, classes: int) -> Any:
    """Return a graph that ends in [B, K, 6] instead of [B, N, 5 + C].

    Rows are x1, y1, x2, y2 in network-input pixels, confidence, class, most confident first; missing ones are zeros.
    As in `metrics.nms`: a prediction counts once, for its best class, with objectness times class probability.

    Args:
        model: an `onnx.ModelProto` without NMS; not used afterwards.
        options: thresholds; K is `max_det`.
        classes: C.
    """
    onnx = optional("onnx", "exporting to ONNX")
    graph = model.graph
    (produced,) = [node for node in graph.node if OUTPUT in node.output]
    produced.output[list(produced.output).index(OUTPUT)] = _DECODED
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == OUTPUT:
                node.input[place] = _DECODED
    part = _Part(onnx)
    _add_suppression(part, options, classes)
    graph.node.extend(part.nodes)
    graph.initializer.extend(part.constants)
    batch = graph.output[0].type.tensor_type.shape.dim[0]
    first = batch.dim_param or batch.dim_value
    del graph.output[:]
    shape = [first, options.max_det, 6]
    graph.output.append(onnx.helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, shape))
    return model


def _add_suppression(part: _Part, options: NmsInGraph, classes: int) -> None:
    boxes = part.add("Slice", _DECODED, part.ints(0), part.ints(4), part.ints(2))
    objectness = part.add("Slice", _DECODED, part.ints(4), part.ints(5), part.ints(2))
    probability = part.add("Slice", _DECODED, part.ints(5), part.ints(_LARGEST), part.ints(2))
    scores = part.add("Mul", probability, objectness)  # [B, N, C]
    best, label = part.add("TopK", scores, part.ints(1), outputs=2, axis=2)  # [B, N, 1]

    # NonMaxSuppression works class by class, so a box is shown to its best class only; agnostic, all are of one.
    if options.agnostic:
        shown = part.add("Transpose", best, perm=[0, 2, 1])
    else:
        numbers = part.constant(np.arange(classes, dtype=np.int64).reshape(1, 1, -1))
        own = part.add("Where", part.add("Equal", label, numbers), scores, part.floats(0))
        shown = part.add("Transpose", own, perm=[0, 2, 1])
    chosen = part.add(  # [M, 3]: image, class, box
        "NonMaxSuppression",
        boxes,
        shown,
        part.ints(min(options.per_class, options.max_det)),
        part.floats(options.iou_thres),
        part.floats(options.conf_thres),
        center_point_box=1,
    )

    # Back into a table of fixed size: the confidence where a box was chosen, 0 elsewhere, and the best K of that.
    places = part.add("Gather", chosen, part.ints(0, 2), axis=1)
    flat = part.add("Reshape", best, part.ints(0, -1))  # [B, N]
    kept_confidence = part.add("GatherND", flat, places)
    nothing = part.add("Mul", flat, part.floats(0))
    table = part.add("ScatterND", nothing, places, kept_confidence)
    available = part.add("Gather", part.add("Shape", table), part.ints(1), axis=0)
    most = part.add("Min", available, part.ints(options.max_det))
    confidence, row = part.add("TopK", table, most, outputs=2, axis=1)
    column = part.add("Reshape", row, part.ints(0, -1, 1))
    confidence = part.add("Reshape", confidence, part.ints(0, -1, 1))

    four = part.constant(np.zeros((1, 1, 4), np.int64))
    corners = part.add("GatherElements", _corners(part, boxes), part.add("Add", column, four), axis=1)
    kind = part.add("Cast", part.add("GatherElements", label, column, axis=1), to=part.float_type)
    rows = part.add("Concat", corners, confidence, kind, axis=2)
    present = part.add("Cast", part.add("Greater", confidence, part.floats(0)), to=part.float_type)
    rows = part.add("Mul", rows, present)
    # At small sizes there may be fewer predictions than rows.
    short = part.add("Sub", part.ints(options.max_det), most)
    pads = part.add("Concat", part.ints(0, 0, 0, 0), short, part.ints(0), axis=0)
    part.add("Pad", rows, pads, name=OUTPUT)


def _corners(part: _Part, boxes: str) -> str:
    """Add x1, y1, x2, y2 of boxes [B, N, 4] given by centre and size."""
    centre = part.add("Slice", boxes, part.ints(0), part.ints(2), part.ints(2))
    half = part.add("Mul", part.add("Slice", boxes, part.ints(2), part.ints(4), part.ints(2)), part.floats(0.5))
    return part.add("Concat", part.add("Sub", centre, half), part.add("Add", centre, half), axis=2)


class _Part:
    """Nodes and constants that are being put together."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.float_type = onnx.TensorProto.FLOAT

    def add(self, kind: str, *inputs: str, name: str = "", outputs: int = 1, **attributes: Any) -> Any:
        """Add a node and return the name of its output, or of its outputs."""
        names = [name or f"nms_{kind.lower()}_{len(self.nodes)}_{n}" for n in range(outputs)]
        self.nodes.append(
            self._onnx.helper.make_node(kind, list(inputs), names, f"nms_{len(self.nodes)}", **attributes)
        )
        return names[0] if outputs == 1 else names

    def constant(self, values: np.ndarray) -> str:
        """Add a constant and return its name."""
        name = f"nms_constant_{len(self.constants)}"
        self.constants.append(self._onnx.numpy_helper.from_array(values, name))
        return name

    def ints(self, *values: int) -> str:
        """Add a list of whole numbers."""
        return self.constant(np.array(values, dtype=np.int64))

    def floats(self, *values: float) -> str:
        """Add a list of numbers."""
        return self.constant(np.array(values, dtype=np.float32))
