"""Where attributes of YOLOv5's objects have other names than ours; the state-dict keys of published weights agree."""

from __future__ import annotations

CHILDREN: dict[str, dict[str, str]] = {
    "SPPF": {"m": "pool"},
    "SPP": {"m": "pools"},
    "TransformerBlock": {"linear": "position", "tr": "layers"},
    "TransformerLayer": {"ma": "attention"},
}
"""Class -> name of a child module there -> its name here."""

ATTRIBUTES: dict[str, dict[str, str]] = {
    "Bottleneck": {"residual": "add"},
    "CrossConv": {"residual": "add"},
    "Concat": {"dimension": "d"},
}
"""Class -> name of an attribute here -> its name there."""
