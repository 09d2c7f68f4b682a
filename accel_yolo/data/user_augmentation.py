"""`--augment-with`: a user's torchvision.transforms.v2 callable, called on each training sample by the workers.

torch is imported where the callable is, so workers of runs without one do without it.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import multiprocessing
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from accel_yolo.data.labels import EDGE_PX
from accel_yolo.data.order import Stream, generator
from accel_yolo.errors import ConfigError, did_you_mean

FLAG = "--augment-with"
SEEDS = 3
"""Seeds of one sample: for the generator that is handed over, for torch and Python, and for NumPy."""


def load_augmentation(name: str) -> Callable[..., Any]:
    """Return what "package.module:callable" names, found from the working folder or among installed packages.

    Raises:
        ConfigError: it cannot be imported, is not there, or cannot be called.
    """
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # the user's code: whatever it raises
        raise ConfigError("cannot import the augmentation", FLAG, name, _said(error)) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            remedy = did_you_mean(part, dir(found)) or f"{module_name} has no '{part}'"
            raise ConfigError("no such augmentation", FLAG, name, remedy)
        found = getattr(found, part)
    if isinstance(found, type) or not callable(found):
        kind = "a class: name an object made from it" if isinstance(found, type) else f"a {type(found).__name__}"
        raise ConfigError("the augmentation cannot be called with a sample", FLAG, name, f"it is {kind}")
    return found


@dataclass(frozen=True)
class UserAugmentation:
    """A callable by its name; it is imported by the process that first calls it.

    Attributes:
        name: "package.module:callable".
        classes: number of classes.
        seed: the seed of the run.
    """

    name: str
    classes: int
    seed: int

    def apply(self, image: np.ndarray, labels: np.ndarray, key: tuple[int, int], what: str) -> np.ndarray:
        """Change a sample in place and return its new labels, float32 [k', 5].

        Args:
            image: RGB uint8 [H, W, 3].
            labels: float32 [k, 5]: class, cx, cy, w, h (0..1).
            key: (epoch, position): all randomness is keyed by them.
            what: the sample, for messages.

        Raises:
            ConfigError: the callable failed, or gave something else than a sample of the same size.
        """
        call, takes_generator = _prepared(self.name)
        import torch
        from torchvision import tv_tensors

        size_hw = image.shape[:2]
        seeds = generator(self.seed, *key, Stream.USER).integers(2**63, size=SEEDS).tolist()
        boxes = torch.from_numpy(_corners_px(labels, size_hw))
        target = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size_hw),  # pyright: ignore
            "labels": torch.from_numpy(labels[:, 0].astype(np.int64)),
        }
        pixels = tv_tensors.Image(torch.from_numpy(image.transpose(2, 0, 1).copy()))
        extra = {"generator": torch.Generator().manual_seed(seeds[0])} if takes_generator else {}
        try:
            with _keyed_globals(*seeds[1:]), torch.no_grad():
                answer = call(pixels, target, **extra)
        except (Exception, SystemExit) as error:  # the user's code: whatever it raises
            raise self._wrong("the augmentation failed", what, _said(error)) from error
        try:
            shown, rows = _checked(answer, size_hw, self.classes)
        except Exception as error:  # the user's tensors: whatever they are
            said = str(error) if isinstance(error, _Wanted) else _said(error)
            raise self._wrong("the augmentation gave something else than a sample", what, said) from error
        image[...] = shown.transpose(1, 2, 0)
        return _as_labels(rows, size_hw)

    def _wrong(self, problem: str, what: str, why: str) -> ConfigError:
        return ConfigError(problem, f"{FLAG} {self.name}, {what}", why)


class _Wanted(Exception):
    """What a sample must be."""


@lru_cache(maxsize=4)
def _prepared(name: str) -> tuple[Callable[..., Any], bool]:
    """Return the callable and whether it takes a `generator`; once in a process."""
    found = load_augmentation(name)
    if multiprocessing.parent_process() is not None:  # a worker: see `workers.start_worker`
        import torch

        torch.set_num_threads(1)
    # The call of a torch module hides the parameters of its `forward`.
    known = getattr(found, "forward", found)
    try:
        return found, "generator" in inspect.signature(known).parameters
    except (TypeError, ValueError):  # some callables of C have no signature
        return found, False


@contextlib.contextmanager
def _keyed_globals(seed: int, numpy_seed: int) -> Iterator[None]:
    """Seed the global generators of torch (on the host), Python and NumPy, and put them back afterwards.

    The transforms of torchvision draw from them and from nothing else.
    """
    import torch

    before = torch.default_generator.get_state(), random.getstate(), np.random.get_state()
    try:
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(numpy_seed % 2**32)
        yield
    finally:
        torch.default_generator.set_state(before[0])
        random.setstate(before[1])
        np.random.set_state(before[2])


def _checked(answer: Any, size_hw: tuple[int, int], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels uint8 [3, H, W] and rows float64 [k, 5]: class, x1, y1, x2, y2 px.

    Raises:
        _Wanted: says what is wrong.
    """
    import torch

    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise _Wanted(f"needs (image, target), not a {type(answer).__name__}")
    image, target = answer
    wanted = f"needs a uint8 image [3, {size_hw[0]}, {size_hw[1]}]"
    if not isinstance(image, torch.Tensor):
        raise _Wanted(f"{wanted}, not a {type(image).__name__}")
    if image.dtype != torch.uint8 or tuple(image.shape) != (3, *size_hw):
        raise _Wanted(f"{wanted}, not {image.dtype} {list(image.shape)}")
    if not isinstance(target, dict) or not all(isinstance(target.get(k), torch.Tensor) for k in ("boxes", "labels")):
        raise _Wanted("needs a target with the tensors 'boxes' and 'labels'")
    boxes, labels = target["boxes"].detach(), target["labels"].detach()
    if boxes.is_complex() or labels.is_complex():
        raise _Wanted("needs boxes and labels of real numbers")
    if getattr(getattr(boxes, "format", None), "value", "XYXY") != "XYXY":
        raise _Wanted(f"needs boxes as XYXY, not {boxes.format.value}")
    if boxes.ndim != 2 or boxes.shape[1] != 4 or labels.shape != boxes.shape[:1]:
        raise _Wanted(f"needs boxes [k, 4] and labels [k], not {list(boxes.shape)} and {list(labels.shape)}")
    if labels.is_floating_point() or not bool(((labels >= 0) & (labels < classes)).all()):
        raise _Wanted(f"needs whole labels from 0 to {classes - 1}")
    corners = boxes.as_subclass(torch.Tensor).double().numpy()
    if not np.isfinite(corners).all():
        raise _Wanted("needs boxes that are finite")
    rows = np.concatenate((labels.numpy().astype(np.float64)[:, None], corners), axis=1)
    return image.as_subclass(torch.Tensor).numpy(), rows


def _corners_px(labels: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Return float32 [k, 4]: x1, y1, x2, y2 px of labels [k, 5]."""
    centre, half = labels[:, 1:3].astype(np.float64), labels[:, 3:5].astype(np.float64) / 2
    corners = np.concatenate((centre - half, centre + half), axis=1)
    return (corners * np.tile(size_hw[::-1], 2)).astype(np.float32)


def _as_labels(rows: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Return float32 [k', 5]: class, cx, cy, w, h (0..1) of the rows that still show something, cut to the image."""
    size = np.array(size_hw[::-1])
    low, high = rows[:, 1:3].clip(0, size - EDGE_PX), rows[:, 3:5].clip(0, size - EDGE_PX)
    kept = ((high - low) > EDGE_PX).all(axis=1)
    low, high = low[kept] / size, high[kept] / size
    return np.concatenate((rows[kept, :1], (low + high) / 2, high - low), axis=1).astype(np.float32)


def _said(error: BaseException) -> str:
    """Return "ValueError: what it says", one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
