"""Reads the arrays of a large JSON object one element at a time: annotation files may be larger than memory.

ijson does the same, but takes memory that grows with the square of how deep a file is nested: a damaged or hostile one
then ends the process, where this says one line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from accel_yolo.errors import DataError, EnvironmentFault, printable

PIECE_CHARACTERS = 1 << 20
LONGEST_VALUE = 1 << 28
_SPACE = " \t\r\n"


def elements(file: Path, key: str) -> Iterator[Any]:
    """Yield the elements of the array under a top-level key; other keys are skipped, not kept.

    Raises:
        DataError: not JSON, not an object, no such key, or no array there.
        EnvironmentFault: the file cannot be read.
    """
    where = printable(str(file))
    try:
        with file.open(encoding="utf-8") as stream:
            yield from _elements(_Reader(stream), key, where)
    except (ValueError, RecursionError) as error:
        raise DataError("not valid JSON", where, str(error)[:100], "get the file again") from error
    except OSError as error:
        raise EnvironmentFault("cannot read", where, error.strerror or error) from error


def _elements(reader: _Reader, key: str, where: str) -> Iterator[Any]:
    reader.expect("{")
    while reader.peek() != "}":
        found = reader.value()
        reader.expect(":")
        if found == key:
            if reader.peek() != "[":
                raise DataError("not a list", f"{where}, key '{key}'")
            yield from reader.array()
            return
        if reader.peek() == "[":
            for _ in reader.array():
                pass
        else:
            reader.value()
        reader.skip_comma()
    raise DataError("a key is missing", where, key, "get the annotations as they are published")


class _Reader:
    """A window that moves over the text of a file."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self.text, self.at = "", 0
        self.decode = json.JSONDecoder().raw_decode

    def more(self) -> bool:
        """Drop what was read and read on; return whether there was more."""
        rest = self.text[self.at :]
        if len(rest) > LONGEST_VALUE:
            raise ValueError("a value without end")
        # More each time: what does not fit is decoded again, but not often.
        piece = self.stream.read(max(PIECE_CHARACTERS, len(rest)))
        self.text, self.at = rest + piece, 0
        return bool(piece)

    def peek(self) -> str:
        """Return the next character that is not space."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                raise ValueError("the file just stops")

    def expect(self, character: str) -> None:
        if self.peek() != character:
            raise ValueError(f"{self.text[self.at]!r} where {character!r} should be")
        self.at += 1

    def skip_comma(self) -> None:
        if self.peek() == ",":
            self.at += 1

    def value(self) -> Any:
        """Return the next value."""
        self.peek()
        while True:
            try:
                value, end = self.decode(self.text, self.at)
            except ValueError:
                if not self.more():
                    raise
                continue
            # At the end of the window a number may go on.
            if end == len(self.text) and self.more():
                continue
            self.at = end
            return value

    def array(self) -> Iterator[Any]:
        """Yield the elements of the next array."""
        self.expect("[")
        while self.peek() != "]":
            yield self.value()
            self.skip_comma()
        self.at += 1
