"""How the answers of several networks are put together: the choice; without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from accel_yolo.errors import ConfigError

Fusion = Literal["nms", "wbf"]
"""One non-maximum suppression over the candidates of all, or weighted box fusion."""


def check_fusion(weights: Sequence[str], fusion: Fusion) -> None:
    """Check that there is something to fuse. Raises ConfigError."""
    if fusion == "wbf" and len(weights) < 2:
        remedy = "give two or more files after --weights, or leave --fusion out"
        raise ConfigError("there is nothing to fuse", "--weights", " ".join(weights), remedy)
