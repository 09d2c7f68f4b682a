"""Small detectors, and files that look like foreign checkpoints, made without foreign code."""

from __future__ import annotations

import copy
import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from accel_yolo.models.detector import Detector
from accel_yolo.models.zoo import build_detector

TINY_SPEC: dict[str, Any] = {
    "depth_multiple": 1.0,
    "width_multiple": 1.0,
    "anchors": [[10, 13, 16, 30], [30, 61, 62, 45]],
    "backbone": [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "C3", [16]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "SPPF", [16, 5]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 2], 1, "Concat", [1]],
        [-1, 1, "C3", [16, False]],
        [[7, 4], 1, "Detect", ["nc", "anchors"]],
    ],
}
"""Two levels, strides 4 and 8, a few thousand weights."""

TINY_NAMES = {0: "cat", 1: "dog"}


@pytest.fixture
def tiny_spec() -> dict[str, Any]:
    """A model YAML of a few thousand weights."""
    return copy.deepcopy(TINY_SPEC)


@pytest.fixture
def tiny() -> Detector:
    """A detector of a few thousand weights and two classes."""
    return build_detector(copy.deepcopy(TINY_SPEC), TINY_NAMES)


class ForeignShop:
    """Makes objects of classes named as YOLOv5's, which exist only while the shop is open."""

    def __init__(self) -> None:
        self.modules = {name: types.ModuleType(name) for name in ("models", "models.yolo", "models.common")}
        for other in ("ultralytics", "ultralytics.nn", "ultralytics.nn.tasks"):
            self.modules[other] = types.ModuleType(other)

    def named(self, module: str, name: str) -> type:
        """Return the throw-away class `module.name`."""
        space = self.modules[module]
        if not hasattr(space, name):
            setattr(space, name, type(name, (nn.Module,), {"__module__": module}))
        return getattr(space, name)

    def model(self, detector: Detector, root: str = "DetectionModel", home: str = "models.yolo") -> nn.Module:
        """Return a half-precision copy of `detector` whose modules belong to foreign classes."""
        twin = copy.deepcopy(detector).half()
        for module in twin.modules():
            name = type(module).__name__
            if type(module).__module__.startswith("accel_yolo."):
                module.__class__ = self.named("models.yolo" if name == "Detect" else "models.common", name)
        twin.__class__ = self.named(home, root)
        for attribute in ("spec", "sources", "kept", "strides", "nc", "names"):
            vars(twin).pop(attribute)
        twin.yaml = {**copy.deepcopy(detector.spec), "ch": 3, "yaml_file": "tiny.yaml"}
        twin.names = dict(detector.names)
        twin.stride = torch.tensor([float(stride) for stride in detector.strides])
        twin.nc = detector.nc
        return twin

    @staticmethod
    def with_ordered_maps(model: nn.Module) -> nn.Module:
        """Give every module the OrderedDict that older PyTorch wrote."""
        for module in list(model.modules()):
            module.__dict__["_modules"] = OrderedDict(module._modules)
        return model


@pytest.fixture
def shop() -> Iterator[ForeignShop]:
    """Foreign classes, importable during the test's writing and gone when `close_shop` or the test ends."""
    opened = ForeignShop()
    sys.modules.update(opened.modules)
    try:
        yield opened
    finally:
        for name in opened.modules:
            sys.modules.pop(name, None)


@pytest.fixture
def write_pt(shop: ForeignShop, tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of foreign checkpoints; after it, the foreign classes can no longer be imported."""

    def write(content: Any, name: str = "foreign.pt", **options: Any) -> Path:
        path = tmp_path / name
        torch.save(content, path, **options)
        for module in shop.modules:
            sys.modules.pop(module, None)
        return path

    return write


@pytest.fixture
def write_pickle(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of archives around a given pickle (bytes, or an object to be pickled)."""

    def write(content: Any, protocol: int = 2, entries: dict[str, bytes] | None = None) -> Path:
        path = tmp_path / "hostile.pt"
        body = content if isinstance(content, bytes) else pickle.dumps(content, protocol)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("archive/data.pkl", body)
            for entry, value in (entries or {}).items():
                archive.writestr(entry, value)
        path.write_bytes(buffer.getvalue())
        return path

    return write
