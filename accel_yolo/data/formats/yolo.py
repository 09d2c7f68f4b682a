"""YOLO text labels: one object per line, `class cx cy w h` or a polygon `class x1 y1 x2 y2 ...`, all 0..1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accel_yolo.data.label_paths import label_path_of
from accel_yolo.data.problems import BadFile, Problem

__all__ = ["NO_LABELS", "Labels", "label_path_of", "parse_labels"]

BOX_COLUMNS = 5
MIN_POLYGON_COLUMNS = 7
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Labels:
    """The objects of one image.

    Attributes:
        rows: [k, 5] float32: class, cx, cy, w, h, normalised to the image as displayed (EXIF applied).
        polygons: k arrays [p, 2] float32 of x, y, normalised; p = 0 for an object given as a box.
        duplicates_removed: rows left out because an equal one exists.
    """

    rows: np.ndarray
    polygons: tuple[np.ndarray, ...]
    duplicates_removed: int = 0


NO_POLYGON = np.zeros((0, 2), np.float32)
NO_LABELS = Labels(np.zeros((0, 5), np.float32), ())


def parse_labels(content: bytes, file: str, *, nc: int, single_cls: bool) -> Labels:
    """Return the objects of one label file.

    Args:
        content: the bytes of the file. A byte-order mark, CRLF, tabs and blank lines are fine.
        file: its path, for messages.
        nc: number of classes; a class must be below it.
        single_cls: every class becomes 0 and `nc` does not bound it.

    Raises:
        BadFile: the first line that breaks a rule, with its number and value.
    """
    plain = _plain_boxes(content, math.inf if single_cls else nc)
    if plain is not None:
        if single_cls:
            plain[:, 0] = 0
        return _without_duplicates(plain, [NO_POLYGON] * len(plain))
    rows: list[np.ndarray] = []
    polygons: list[np.ndarray] = []
    for number, line in enumerate(content.removeprefix(_BOM).splitlines(), start=1):
        tokens = line.split()
        if not tokens:
            continue
        try:
            row, polygon = _parse_line(tokens, math.inf if single_cls else nc)
        except _Rule as broken:
            raise BadFile(Problem(file, number, broken.value, broken.rule)) from None
        if single_cls:
            row[0] = 0
        rows.append(row)
        polygons.append(polygon)
    if not rows:
        return NO_LABELS
    return _without_duplicates(np.stack(rows), polygons)


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


class _Rule(Exception):
    def __init__(self, rule: str, value: bytes) -> None:
        super().__init__(rule)
        self.rule, self.value = rule, value.decode("utf-8", "backslashreplace")


def _parse_line(tokens: list[bytes], nc: float) -> tuple[np.ndarray, np.ndarray]:
    values = [_number(token) for token in tokens]
    if len(tokens) != BOX_COLUMNS and (len(tokens) < MIN_POLYGON_COLUMNS or len(tokens) % 2 == 0):
        raise _Rule(
            "a line has 5 columns (class cx cy w h), or 7, 9, ... for a polygon (class x1 y1 x2 y2 x3 y3 ...)",
            f"{len(tokens)} columns".encode(),
        )
    kind = values[0]
    if kind < 0 or kind != int(kind):
        raise _Rule("the class must be a whole number from 0", tokens[0])
    if kind >= nc:
        raise _Rule(f"the class must be below the number of classes, {nc}", tokens[0])
    for token, value in zip(tokens[1:], values[1:], strict=True):
        if not 0 <= value <= 1:
            raise _Rule("coordinates must lie between 0 and 1 (fractions of the image side)", token)
    if len(tokens) == BOX_COLUMNS:
        return np.array(values, np.float32), NO_POLYGON
    polygon = np.array(values[1:], np.float32).reshape(-1, 2)
    low, high = polygon.min(0), polygon.max(0)
    return np.concatenate(([np.float32(kind)], (low + high) / 2, high - low), dtype=np.float32), polygon


def _number(token: bytes) -> float:
    try:
        # Python reads 1_0 as ten; no label writer means that.
        value = float(token) if b"_" not in token else math.nan
    except ValueError:
        raise _Rule("every column must be a number", token) from None
    if not math.isfinite(value):
        raise _Rule("every column must be a finite number", token)
    return value


def _without_duplicates(rows: np.ndarray, polygons: list[np.ndarray]) -> Labels:
    """Return the distinct rows: in file order when all are, else sorted by column as the reference leaves them."""
    if len(set(map(tuple, rows.tolist()))) == len(rows):
        return Labels(rows, tuple(polygons))
    _, first = np.unique(rows, axis=0, return_index=True)
    return Labels(rows[first], tuple(polygons[i] for i in first), len(rows) - len(first))
