"""Files of a run folder as plain data, or one sentence that says why not. Nothing here raises for what a file holds."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from accel_yolo.errors import UserError, first_line

T = TypeVar("T")
LARGEST_BYTES = 256 << 20
"""No file of a run that is read as a whole is larger. Of weights only the header is read, and the record, which grows
as long as the run goes on, line by line."""

_UNREADABLE = (OSError, UserError, ValueError, KeyError, TypeError, IndexError, RecursionError, csv.Error)


@dataclass(frozen=True)
class Found(Generic[T]):
    """What a file holds.

    Attributes:
        content: None where there is none.
        problem: why there is none, one sentence; "" when all is well.
    """

    content: T | None = None
    problem: str = ""


def read(path: Path, reader: Callable[[Path], T], *, is_whole: bool = True) -> Found[T]:
    """Return what `reader` makes of a file, or why it could not.

    Args:
        path: the file.
        reader: of it.
        is_whole: whether it takes the whole file into memory.
    """
    try:
        if not path.exists():
            return Found(problem=f"{path.name} is not there.")
        if is_whole and path.stat().st_size > LARGEST_BYTES:
            return Found(problem=f"{path.name} is too large to be a file of a run.")
        return Found(reader(path))
    except json.JSONDecodeError as error:
        return Found(problem=f"{path.name} is damaged: it is not JSON from line {error.lineno} on.")
    except msgspec.ValidationError as error:
        return Found(problem=f"{path.name} is damaged: {first_line(error)}.")
    except UnicodeDecodeError:
        return Found(problem=f"{path.name} is damaged: it is not text.")
    except _UNREADABLE as error:
        said = error.strerror if isinstance(error, OSError) else first_line(error)
        return Found(problem=f"{path.name} cannot be read: {said}.")


def json_as(kind: type[T]) -> Callable[[Path], T]:
    """Return a reader of a JSON file of this shape."""
    return lambda path: msgspec.convert(without_nan(json.loads(path.read_text("utf-8"))), kind)


def without_nan(value: Any) -> Any:
    """Return plain data with None for numbers that are not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return value


def csv_rows(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file, header first, without spaces around cells."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [[cell.strip() for cell in row] for row in csv.reader(stream) if row]
    if not rows:
        raise ValueError("it is empty")
    return rows


def number(text: str) -> float | None:
    """Return a finite number, None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def epochs_table(path: Path) -> list[dict[str, float | None]]:
    """Return the rows of `results.csv` by column; a row without an epoch (half written, by another program) is left
    out."""
    header, *rows = csv_rows(path)
    table = [dict(zip(header, map(number, row), strict=False)) for row in rows]
    if "epoch" not in header:
        raise ValueError("it has no column 'epoch'")
    return [row for row in table if row.get("epoch") is not None]
