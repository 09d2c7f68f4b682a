"""Label files: what is no number, what lies outside the image, what is no text; the place is named to the line."""

from __future__ import annotations

import os
from pathlib import Path

from hostile.cases import Case
from hostile.images import PNG

NUMBER, FINITE = "every column must be a number: ", "every column must be a finite number: "
RANGE = "coordinates must lie between 0 and 1 (fractions of the image side): "
CLASS, COLUMNS = "the class must be a whole number from 0: ", "a line has 5 columns"
GOOD = b"0 .5 .5 .2 .2\n"


def _bad(name: str, line: bytes, rule: str) -> Case:
    """Return a file whose second line is bad."""
    return Case(name, "bad.txt", lambda path, _: path.write_bytes(GOOD + line + b"\n"), 3, ("{file}:2: " + rule,))


def _fine(name: str, content: bytes, objects: int) -> Case:
    words = (f"{1 + objects} objects" if objects else "1 objects",)
    return Case(name, "bad.txt", lambda path, _: path.write_bytes(content), 0, words)


def _holes(path: Path, _: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 30)


def _fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path, _: Path) -> None:
    path.mkdir()


LABELS = [
    _bad("a letter", b"0 .5 x .1 .1", NUMBER + "x"),
    _bad("commas", b"0,.5,.5,.1,.1", NUMBER),
    _bad("not a number", b"0 nan .5 .1 .1", FINITE + "nan"),
    _bad("infinity", b"0 .5 inf .1 .1", FINITE + "inf"),
    _bad("a number beyond all", b"0 .5 1e999 .1 .1", FINITE + "1e999"),
    _bad("a negative coordinate", b"0 .5 -.5 .1 .1", RANGE + "-.5"),
    _bad("a coordinate above one", b"0 .5 .5 1.5 .1", RANGE + "1.5"),
    _bad("four columns", b"0 .5 .5 .1", COLUMNS),
    _bad("six columns", b"0 .5 .5 .1 .1 .9", COLUMNS),
    _bad("a class with a fraction", b"1.5 .5 .5 .1 .1", CLASS + "1.5"),
    _bad("a negative class", b"-1 .5 .5 .1 .1", CLASS + "-1"),
    _bad("a class out of range", b"3 .5 .5 .1 .1", "the class must be below the number of classes, 3: 3"),
    _bad("a class of three hundred digits", b"9" * 300 + b" .5 .5 .1 .1", "the class must be below"),
    _bad("latin-1", b"caf\xe9 .5 .5 .1 .1", NUMBER + "caf\\xe9"),
    _bad("digits of another script", "٣ .5 .5 .1 .1".encode(), NUMBER),
    _bad("an underscore", b"0 .5 .5 .1 1_0", FINITE),
    _bad("a zero byte", b"0 .5 .5 .1 .1\0", NUMBER + ".1\\x00"),
    _bad("sixteen bits a letter", "0 .5 .5 .1 .1".encode("utf-16"), NUMBER),
    _bad("a line of a million letters", b"x" * 1_000_000, NUMBER + "x"),
    _bad("an escape sequence", b"\x1b[31m .5 .5 .1 .1", NUMBER + "\\x1b[31m"),
    _bad("a line of a million columns", b"0 " + b".5 " * 1_000_001, COLUMNS),
    Case(
        "a thousand bad lines", "bad.txt", lambda path, _: path.write_bytes(b"x\n" * 1000), 3, ("{file}:1: " + NUMBER,)
    ),
    Case("a gigabyte of holes", "bad.txt", _holes, 3, ("{file}: ", "1073741824 bytes, at most 33554432 are read")),
    Case("a pipe", "bad.txt", _fifo, 3, ("{file}: ", "not a regular file")),
    Case("a folder", "bad.txt", _folder, 3, ("{file}: ", "not a regular file")),
    _fine("a byte-order mark", b"\xef\xbb\xbf" + GOOD, 1),
    _fine("line ends of Windows", GOOD.replace(b"\n", b"\r\n") * 1, 1),
    _fine("tabs and blank lines", b"\n\t0\t.5 .5\t.2 .2\n\n \n", 1),
    _fine("a class written as 1.0", b"1.0 .5 .5 .1 .1\n", 1),
    _fine("a thousand equal rows", GOOD * 1000, 1),
    _fine("an empty file", b"", 0),
]


def data_set_with(path: Path) -> Path:
    """Return the data YAML of a data set of two images, one of which has the label file at `path`."""
    root = path.parent
    for name in ("bad", "good"):
        (root / f"{name}.png").write_bytes(PNG[:-12] + PNG[-12:] + name.encode())
    (root / "good.txt").write_bytes(GOOD)
    data = root / "data.yaml"
    data.write_text("train: .\nval: .\nnames: [a, b, c]\n")
    return data
