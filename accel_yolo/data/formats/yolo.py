"""YOLO text labels: one object per line, `class cx cy w h` or a polygon `class x1 y1 x2 y2 ...`, all 0..1."""

from __future__ import annotations

import math

import numpy as np

from accel_yolo.data.formats.record import (
    NO_POLYGON,
    BrokenRule,
    LabelledObject,
    LabelRules,
    Labels,
    cut_to_image,
    distinct,
    labels_of,
)
from accel_yolo.data.problems import Problem

BOX_COLUMNS = 5
MIN_POLYGON_COLUMNS = 7
_BOM = b"\xef\xbb\xbf"


def parse_yolo(content: bytes, file: str, rules: LabelRules) -> tuple[Labels, list[Problem]]:
    """Return the objects of one label file, and what is wrong with its other lines.

    Args:
        content: the bytes of the file. A byte-order mark, CRLF, tabs and blank lines are fine.
        file: its path, for messages.
        rules: what a class may be.
    """
    plain = _plain_boxes(content, rules.nc)
    if plain is not None:
        if rules.single_cls:
            plain[:, 0] = 0
        return distinct(plain, [NO_POLYGON] * len(plain)), []
    objects: list[LabelledObject] = []
    problems: list[Problem] = []
    for number, line in enumerate(content.removeprefix(_BOM).splitlines(), start=1):
        tokens = line.split()
        if not tokens:
            continue
        try:
            objects.append(_parse_line(tokens, rules))
        except BrokenRule as broken:
            problems.append(Problem(file, number, broken.value, broken.rule))
            if rules.lenient and broken.mended:
                objects.append(broken.mended)
    return labels_of(objects), problems


def _plain_boxes(content: bytes, nc: float) -> np.ndarray | None:
    """Return the rows of a file that holds nothing but valid boxes; None for any other, which is read line by line."""
    tokens: list[bytes] = []
    for line in content.splitlines():
        columns = line.split()
        if columns and len(columns) != BOX_COLUMNS:
            return None
        tokens += columns
    try:
        values = np.array(list(map(float, tokens))).reshape(-1, BOX_COLUMNS)
    except ValueError:
        return None
    classes, boxes = values[:, 0], values[:, 1:]
    is_class = (classes >= 0) & (classes < nc) & (classes == np.floor(classes))
    # No comparison is true of what is not a number.
    if not tokens or b"_" in content or not is_class.all() or not ((boxes >= 0) & (boxes <= 1)).all():
        return None
    return values.astype(np.float32)


def _parse_line(tokens: list[bytes], rules: LabelRules) -> LabelledObject:
    values = [_number(token) for token in tokens]
    if len(tokens) != BOX_COLUMNS and (len(tokens) < MIN_POLYGON_COLUMNS or len(tokens) % 2 == 0):
        raise BrokenRule(
            "a line has 5 columns (class cx cy w h), or 7, 9, ... for a polygon (class x1 y1 x2 y2 x3 y3 ...)",
            f"{len(tokens)} columns",
        )
    kind = values[0]
    if kind < 0 or kind != int(kind):
        raise BrokenRule("the class must be a whole number from 0", _text(tokens[0]))
    if kind >= rules.nc:
        raise BrokenRule(f"the class must be below the number of classes, {rules.nc}", _text(tokens[0]))
    kind = 0.0 if rules.single_cls else kind
    for token, value in zip(tokens[1:], values[1:], strict=True):
        if not 0 <= value <= 1:
            mended = cut_to_image(kind, values[1:]) if len(tokens) == BOX_COLUMNS else None
            rule = "coordinates must lie between 0 and 1 (fractions of the image side)"
            raise BrokenRule(rule, _text(token), mended)
    if len(tokens) == BOX_COLUMNS:
        return LabelledObject(np.array([kind, *values[1:]], np.float32))
    polygon = np.array(values[1:], np.float32).reshape(-1, 2)
    low, high = polygon.min(0), polygon.max(0)
    row = np.concatenate(([np.float32(kind)], (low + high) / 2, high - low), dtype=np.float32)
    return LabelledObject(row, polygon)


def _number(token: bytes) -> float:
    try:
        # Python reads 1_0 as ten; no label writer means that.
        value = float(token) if b"_" not in token else math.nan
    except ValueError:
        raise BrokenRule("every column must be a number", _text(token)) from None
    if not math.isfinite(value):
        raise BrokenRule("every column must be a finite number", _text(token))
    return value


def _text(token: bytes) -> str:
    return token.decode("utf-8", "backslashreplace")
