"""Which parameters of a detector are left as they are: layers by number, sections and parameters by name."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from accel_yolo.errors import ConfigError, did_you_mean
from accel_yolo.models.detector import Detector

SECTIONS = ("backbone", "neck", "head")
"""Of a model YAML: its backbone; of its head all but the last layer; and that layer, which detects."""

_GLOB = frozenset("*?[")


def freeze(detector: Detector, wanted: Sequence[int | str]) -> list[str]:
    """Stop the gradient of some parameters and return their names.

    Running statistics of BatchNorm go on following the data, in frozen layers too.

    Args:
        detector: changed in place.
        wanted: () or (0,) freezes nothing. One number n alone freezes layers 0 to n - 1; otherwise numbers are layers.
            A text is a section, the beginning of parameter names up to a dot ("model.24"), or a pattern of them with
            * ? [] ("*.bn").

    Raises:
        ConfigError: a number that is no layer, a name that no parameter has, or nothing would be left to train.
    """
    names = [name for name, _ in detector.named_parameters()]
    layers = _numbered(detector, [each for each in wanted if isinstance(each, int)], alone=len(wanted) == 1)
    prefixes = [f"model.{layer}" for layer in layers]
    for text in (each for each in wanted if isinstance(each, str)):
        prefixes += _named(detector, text, names)
    frozen = [name for name in names if any(_begins(name, prefix) for prefix in prefixes)]
    if len(frozen) == len(names):
        raise ConfigError("nothing left to train", "--freeze", " ".join(map(str, wanted)), "freeze fewer layers")
    for name in frozen:
        detector.get_parameter(name).requires_grad_(False)
    return frozen


def frozen_share(detector: nn.Module) -> str:
    """Return "1,234 of 5,678 parameters"."""
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in detector.parameters()]
    return f"{sum(n for n, learns in counts if not learns):,} of {sum(n for n, _ in counts):,} parameters"


def _numbered(detector: Detector, numbers: list[int], *, alone: bool) -> Sequence[int]:
    layers = len(detector.model)
    highest = max(numbers, default=0) + (0 if alone else 1)
    if numbers and (min(numbers) < 0 or highest > layers):
        raise ConfigError("no such layer", "--freeze", " ".join(map(str, numbers)), f"layers are 0 to {layers - 1}")
    return range(numbers[0]) if alone and numbers else numbers


def _named(detector: Detector, text: str, names: Sequence[str]) -> list[str]:
    """Return what the names of the parameters that `text` means begin with."""
    if text in SECTIONS:
        return [f"model.{layer}" for layer in _section(detector, text)]
    beginnings = list(dict.fromkeys(name.rsplit(".", cut)[0] for name in names for cut in range(name.count("."))))
    found = [each for each in beginnings if each == text or (_GLOB & set(text) and fnmatchcase(each, text))]
    if not found:
        hint = did_you_mean(text, [*SECTIONS, *beginnings])
        remedy = f"{hint} " * bool(hint) + "give a section (backbone, neck, head) or a name such as model.24"
        raise ConfigError("no parameter of that name", "--freeze", text, remedy)
    return found


def _section(detector: Detector, name: str) -> range:
    last, body = len(detector.model) - 1, len(detector.spec["backbone"])
    return {"backbone": range(body), "neck": range(body, last), "head": range(last, last + 1)}[name]


def _begins(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
