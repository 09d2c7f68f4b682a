"""The model specification: the checked content of a model YAML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from accel_yolo.errors import ConfigError, did_you_mean

KEYS = (
    "nc", "depth_multiple", "width_multiple", "channel_multiple", "anchors", "backbone", "head", "activation",
    "ch", "inplace",
)  # fmt: skip
FILE = "file"
"""Key under which `zoo.model_spec` leaves the name of the YAML, for messages; a Detector does not keep it."""

MAX_VALUES, MAX_DEPTH = 50_000, 20
"""Values of a key, and lists within lists."""

AnchorsPx = tuple[tuple[tuple[float, float], ...], ...]


def checked_spec(content: Any, where: str, *, strict: bool = True) -> dict[str, Any]:
    """Return the known keys of a model YAML with checked types; layers are checked when they are built.

    Args:
        content: what the YAML holds.
        where: its name, for messages.
        strict: an unknown key is an error (a YAML somebody wrote); otherwise it is dropped (a foreign checkpoint).

    Raises:
        ConfigError: unknown key, missing key, or a value of the wrong kind.
    """
    if not isinstance(content, Mapping):
        raise ConfigError("a model YAML is a map of keys", where, type(content).__name__)
    for key in content:
        if strict and key not in (*KEYS, FILE):
            raise ConfigError("unknown key", where, key, did_you_mean(str(key), KEYS) or "known: " + " ".join(KEYS))
    for key in ("backbone", "head", "anchors"):
        if key not in content:
            raise ConfigError("missing key", where, key, "see the shipped yolov5n.yaml")
    for key in ("backbone", "head"):
        if not isinstance(content[key], list):
            raise ConfigError(f"'{key}' must be a list of layers", where, type(content[key]).__name__)
    for key in ("depth_multiple", "width_multiple"):
        value = content.get(key, 1.0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 100:
            raise ConfigError(f"'{key}' must be a number above 0", where, repr(value))
    for key in ("nc", "channel_multiple", "ch"):
        value = content.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65536):
            raise ConfigError(f"'{key}' must be a whole number above 0", where, repr(value))
    spec = {key: content[key] for key in KEYS if content.get(key) is not None}
    for key, value in spec.items():
        if odd := _odd_kind(value):
            raise ConfigError(f"'{key}' holds what no YAML can hold", where, odd)
    spec["anchors"] = checked_anchors(spec.get("anchors"), where)
    return spec


def _odd_kind(value: Any) -> str:
    """Return what a value holds that no YAML could hold, or should; "" where there is nothing of the kind.

    A pickle may hold lists within themselves.
    """
    left, count = [(value, 0)], 0
    while left:
        (item, depth), count = left.pop(), count + 1
        if count > MAX_VALUES or depth > MAX_DEPTH:
            return "lists within lists" if depth > MAX_DEPTH else f"more than {MAX_VALUES} values"
        if isinstance(item, (dict, list, tuple)):
            left += [(inner, depth + 1) for inner in (item.values() if isinstance(item, dict) else item)]
        elif item is not None and not isinstance(item, (bool, int, float, str)):
            return getattr(item, "foreign", "") or type(item).__name__
    return ""


def checked_anchors(value: Any, where: str) -> int | list[list[float]]:
    """Return `anchors` of a model YAML: L lists of w, h, w, h, ... in px, or the number of anchors per level.

    Raises:
        ConfigError: another shape, levels of different length, or sizes that are not positive numbers.
    """
    shape = "write one list of w, h pairs per level, or the number of anchors per level"
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= 100:
            raise ConfigError("'anchors' out of range", where, value, shape)
        return value
    if (
        not isinstance(value, (list, tuple))
        or not value
        or not all(isinstance(level, (list, tuple)) for level in value)
    ):
        raise ConfigError("'anchors' has the wrong form", where, repr(value)[:80], shape)
    lengths = {len(level) for level in value}
    if len(lengths) != 1 or 0 in lengths or lengths.pop() % 2:
        raise ConfigError("'anchors' must hold equally many w, h pairs per level", where, repr(value)[:80], shape)
    for number in (number for level in value for number in level):
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < math.inf:
            raise ConfigError("'anchors' must hold sizes in pixels", where, repr(number), shape)
    return [list(level) for level in value]


def anchors_per_level(anchors: int | Sequence[Sequence[float]]) -> int:
    """Return A, the number of anchors of each level."""
    return anchors if isinstance(anchors, int) else len(anchors[0]) // 2


def anchors_px(anchors: int | Sequence[Sequence[float]], strides: Sequence[int]) -> AnchorsPx:
    """Return the anchors of each level as (w, h) pairs in px, levels in the order of `strides`.

    A whole number k gives the placeholder 0, 1, ..., 2k - 1 on every level, to be replaced by fitted anchors.
    Levels whose mean areas run against the strides are reversed.

    Raises:
        ConfigError: the number of levels is not that of the strides.
    """
    if isinstance(anchors, int):
        flat: list[list[float]] = [[float(i) for i in range(2 * anchors)] for _ in strides]
    else:
        flat = [list(level) for level in anchors]
    if len(flat) != len(strides):
        raise ConfigError("'anchors' has another number of levels than Detect", "", f"{len(flat)}, not {len(strides)}")
    levels = [[(float(w), float(h)) for w, h in zip(level[::2], level[1::2], strict=True)] for level in flat]
    areas = [sum(w * h for w, h in level) / len(level) for level in levels]
    if (areas[-1] - areas[0]) * (strides[-1] - strides[0]) < 0:
        levels.reverse()
    return tuple(tuple(level) for level in levels)
