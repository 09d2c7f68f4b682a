"""A detector as the objects that YOLOv5's own programs expect in a checkpoint, described and never built.

Class paths and attribute names are the public layout of published checkpoints. What torch's own modules hold is taken
from the instances at hand; of YOLOv5's classes only the names of their attributes are written.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from accel_yolo.errors import CheckpointError
from accel_yolo.models import blocks, light_blocks
from accel_yolo.models.activations import ACTIVATIONS
from accel_yolo.models.detector import Detector
from accel_yolo.models.foreign_names import ATTRIBUTES, CHILDREN
from accel_yolo.models.heads import Detect
from accel_yolo.models.inert_pickle import FRAMEWORK_CLASSES
from accel_yolo.models.pickle_writer import FrozenParameter, Instance

_CLASSES: dict[type[nn.Module], str] = {
    **{
        kind: f"models.common.{kind.__name__}"
        for kind in (
            blocks.Conv, blocks.DWConv, blocks.Bottleneck, blocks.CrossConv, blocks.C3, blocks.C3x, blocks.SPPF,
            blocks.SPP, blocks.Focus, blocks.Concat, blocks.Contract, blocks.Expand, light_blocks.GhostConv,
            light_blocks.GhostBottleneck, light_blocks.C3Ghost, light_blocks.C3TR, light_blocks.TransformerLayer,
        )
    },
    light_blocks.PixelTransformer: "models.common.TransformerBlock",
    Detect: "models.yolo.Detect",
}  # fmt: skip

_BARE = frozenset(nn.Module().__dict__)

Cast = Callable[[Tensor], Tensor]


def yolov5_model(detector: Detector, cast: Cast) -> Instance:
    """Return the description of a detector as YOLOv5's `DetectionModel`, in evaluation mode, without gradients.

    Args:
        detector: unfused.
        cast: what happens to floating-point tensors, such as `Tensor.half`.

    Raises:
        CheckpointError: a layer has no counterpart there.
    """
    rows = _rows(detector)
    layers: OrderedDict[str, Instance] = OrderedDict()
    for index, (layer, row) in enumerate(zip(detector.model, rows, strict=True)):
        described = _described(layer, cast, f"layer {index}, {row[2]}")
        if isinstance(layer, Detect):
            described.attributes.update(_of_head(detector, cast))
        first = layer[0] if isinstance(layer, nn.Sequential) else layer
        count = sum(parameter.numel() for parameter in layer.parameters())
        described.attributes.update({"i": index, "f": row[0], "type": _class_path(first, ""), "np": count})
        layers[str(index)] = described
    sequence = Instance("torch.nn.modules.container", "Sequential", {**_bare(), "_modules": layers})
    spec = _spec(detector, rows)
    attributes = {
        **_bare(),
        "_modules": OrderedDict(model=sequence),
        "yaml": spec,
        "save": sorted({source for row in rows for source in _absolute(row[0])}),
        "names": dict(detector.names),
        "inplace": spec.get("inplace", True),
        "stride": torch.tensor([float(stride) for stride in detector.strides]),
        "nc": detector.nc,
    }
    return Instance("models.yolo", "DetectionModel", attributes)


def _absolute(origin: int | list[int]) -> list[int]:
    """Return the layers that `from` names and the one before does not hand over anyway."""
    return [source for source in (origin if isinstance(origin, list) else [origin]) if source != -1]


def _rows(detector: Detector) -> list[list[Any]]:
    """Return the rows of the model YAML with `from` in one form: a list where a layer takes one, else a number.

    A number counted back from further than the layer before becomes that of the layer.
    """
    listed = [*detector.spec["backbone"], *detector.spec["head"]]
    rows = []
    for index, (layer, reads, row) in enumerate(zip(detector.model, detector.sources, listed, strict=True)):
        given = row[0] if isinstance(row[0], list) else [row[0]]
        origin = [number if number == -1 else source for number, source in zip(given, reads, strict=True)]
        takes_list = getattr(layer, "takes_list", False)
        if not takes_list and origin[0] == index - 1:
            origin = [-1]
        rows.append([origin if takes_list else origin[0], *copy.deepcopy(row[1:])])
    return rows


def _spec(detector: Detector, rows: list[list[Any]]) -> dict[str, Any]:
    spec = copy.deepcopy(detector.spec)
    split = len(spec["backbone"])
    spec.update(backbone=rows[:split], head=rows[split:], ch=spec.get("ch", 3))
    if "activation" in spec:
        spec["activation"] = _activation_text(detector)
    return spec


def _activation_text(detector: Detector) -> str:
    """Return the activation as YOLOv5 writes it, such as "nn.LeakyReLU(0.1)"."""
    found = next(
        module.act
        for module in detector.modules()
        if isinstance(module, blocks.Conv) and not isinstance(module.act, nn.Identity)
    )
    name = type(found).__name__
    values = ", ".join(repr(getattr(found, argument)) for argument in ACTIVATIONS[name][1])
    return f"nn.{name}({values})"


def _of_head(detector: Detector, cast: Cast) -> dict[str, Any]:
    head = detector.head
    levels = len(detector.strides)
    return {
        "nc": head.nc,
        "no": head.no,
        "nl": levels,
        "na": head.na,
        "grid": [cast(torch.empty(0)) for _ in range(levels)],
        "anchor_grid": [cast(torch.empty(0)) for _ in range(levels)],
        "inplace": detector.spec.get("inplace", True),
        "stride": cast(torch.tensor([float(stride) for stride in detector.strides])),
    }


def _bare() -> dict[str, Any]:
    """Return what every torch module holds, in the words that torch has understood since 1.7."""
    return {
        "training": False,
        "_parameters": OrderedDict(),
        "_buffers": OrderedDict(),
        "_non_persistent_buffers_set": set(),
        "_backward_hooks": OrderedDict(),
        "_is_full_backward_hook": None,
        "_forward_hooks": OrderedDict(),
        "_forward_pre_hooks": OrderedDict(),
        "_state_dict_hooks": OrderedDict(),
        "_load_state_dict_pre_hooks": OrderedDict(),
        "_modules": OrderedDict(),
    }


def _described(module: nn.Module, cast: Cast, place: str) -> Instance:
    """Return the description of a module and of everything in it."""
    space, _, name = _class_path(module, place).rpartition(".")
    renamed = {ours: theirs for theirs, ours in CHILDREN.get(name, {}).items()}
    attributes = _bare()
    attributes["_parameters"] = OrderedDict(
        (key, None if value is None else FrozenParameter(_cast(value, cast)))
        for key, value in module._parameters.items()
    )
    attributes["_buffers"] = OrderedDict(
        (key, None if value is None else _cast(value, cast)) for key, value in module._buffers.items()
    )
    attributes["_modules"] = OrderedDict(
        (renamed.get(key, key), _described(child, cast, place))
        for key, child in module._modules.items()
        if child is not None
    )
    own_names = ATTRIBUTES.get(name, {})
    for key, value in module.__dict__.items():
        if key not in _BARE:
            attributes[own_names.get(key, key)] = copy.deepcopy(value)
    if isinstance(module, light_blocks.PixelTransformer):
        attributes.update(conv=None, c2=module.position.out_features)
    if isinstance(module, nn.MultiheadAttention):
        attributes["batch_first"] = False  # tokens come first there
    return Instance(space, name, attributes)


def _cast(value: Tensor, cast: Cast) -> Tensor:
    return cast(value) if value.is_floating_point() else value


def _class_path(module: nn.Module, place: str) -> str:
    kind = type(module)
    if kind in _CLASSES:
        return _CLASSES[kind]
    path = (kind.__module__, kind.__qualname__)
    if path not in FRAMEWORK_CLASSES:
        raise CheckpointError("YOLOv5 has no such layer", place, kind.__name__, "keep the weights as .safetensors")
    return ".".join(path)
