"""Activations by name: an explicit table; text is never evaluated."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from accel_yolo.errors import ConfigError, did_you_mean

ACTIVATIONS: dict[str, tuple[Callable[..., nn.Module], tuple[str, ...]]] = {
    "SiLU": (nn.SiLU, ()),
    "ReLU": (nn.ReLU, ()),
    "ReLU6": (nn.ReLU6, ()),
    "LeakyReLU": (nn.LeakyReLU, ("negative_slope",)),
    "ELU": (nn.ELU, ("alpha",)),
    "GELU": (nn.GELU, ()),
    "Hardswish": (nn.Hardswish, ()),
    "Mish": (nn.Mish, ()),
    "Sigmoid": (nn.Sigmoid, ()),
    "Tanh": (nn.Tanh, ()),
    "Identity": (nn.Identity, ()),
}


def parsed_activation(text: Any, where: str) -> Callable[[], nn.Module] | None:
    """Return a maker of the activation that `text` names, such as "nn.LeakyReLU(0.1)"; None keeps SiLU.

    Raises:
        ConfigError: the name is not in the table or an argument is not a number.
    """
    if text is None:
        return None
    remedy = "write a name of " + " ".join(sorted(ACTIVATIONS)) + ", with numbers as arguments"
    match = (
        re.fullmatch(r"\s*(?:torch\.)?(?:nn\.)?(\w+)\s*(?:\(([^()]*)\))?\s*", text) if isinstance(text, str) else None
    )
    if match is None or match.group(1) not in ACTIVATIONS:
        hint = did_you_mean(match.group(1), ACTIVATIONS) if match else ""
        raise ConfigError("unknown activation", where, repr(text), hint or remedy)
    make, known = ACTIVATIONS[match.group(1)]
    values: dict[str, float] = {}
    for position, part in enumerate(filter(None, (match.group(2) or "").replace(" ", "").split(","))):
        key, _, number = part.rpartition("=")
        # In-place activations overwrite what the backward pass and skip connections need: never used here.
        if key == "inplace" and number in ("True", "False"):
            continue
        key = key or (known[position] if position < len(known) else "")
        if key not in known or not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", number):
            raise ConfigError("unknown argument of the activation", where, repr(text), remedy)
        values[key] = float(number)
    return partial(make, **values)
