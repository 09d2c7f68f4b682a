"""Non-maximum suppression as part of an ONNX graph keeps what torch keeps, by standard operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from accel_yolo.export.comparison import kept_by_torch
from accel_yolo.export.onnx_nms import with_nms
from accel_yolo.inference.runtimes.description import NmsInGraph

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
CLASSES = 3


def predictions(seed: int, images: int = 2, rows: int = 200) -> Tensor:
    """Crowded boxes of a few sizes: most overlap others."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(images, rows, 5 + CLASSES, generator=generator)
    drawn[..., :2] *= 100
    drawn[..., 2:4] = drawn[..., 2:4] * 30 + 10
    return drawn


def graph(images: int | str, rows: int | str, opset: int = 17) -> Any:
    """A graph that returns its input."""
    helper, shape = onnx.helper, [images, rows, 5 + CLASSES]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("images", "output0")]
    body = helper.make_graph([helper.make_node("Identity", ["images"], ["output0"])], "same", ends[:1], ends[1:])
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(model: Any, given: Tensor) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": given.numpy()})[0]


@pytest.mark.parametrize(
    "options",
    [
        NmsInGraph(),
        NmsInGraph(0.001, 0.6, 300, 300),
        NmsInGraph(max_det=5),
        NmsInGraph(per_class=2),
        NmsInGraph(agnostic=True),
        NmsInGraph(0.999),
    ],
    ids=["default", "everything", "few", "few of each class", "agnostic", "nothing left"],
)
def test_the_graph_keeps_what_torch_keeps_in_the_same_order(options: NmsInGraph) -> None:
    given = predictions(seed=1)
    rows = run(with_nms(graph("batch", "anchors"), options, CLASSES), given)
    assert rows.shape == (2, options.max_det, 6)
    for mine, theirs in zip(kept_by_torch(given, options), rows, strict=True):
        np.testing.assert_allclose(theirs[: len(mine)], mine.numpy(), rtol=1e-6, atol=1e-4)
        assert not theirs[len(mine) :].any()


def test_an_input_with_fewer_predictions_than_rows_is_filled_up_with_zeros() -> None:
    given = predictions(seed=2, images=1, rows=4)
    rows = run(with_nms(graph(1, 4), NmsInGraph(max_det=50), CLASSES), given)
    assert rows.shape == (1, 50, 6)
    assert len(kept_by_torch(given, NmsInGraph())[0]) == int((rows[0, :, 4] > 0).sum()) > 0


def test_opset_12_has_all_the_operators() -> None:
    given = predictions(seed=3)
    rows = run(with_nms(graph(2, 200, opset=12), NmsInGraph(), CLASSES), given)
    assert int((rows[0, :, 4] > 0).sum()) == len(kept_by_torch(given, NmsInGraph())[0]) > 0
