"""Writes YOLO labels and lists of images: a folder of labels is there whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from PIL import Image

from accel_yolo import console
from accel_yolo.errors import DataError, printable
from accel_yolo.files import whole_folder, write_text_atomic

Box = tuple[float, float, float, float]
Size = tuple[int, int]


def label_line(number: int, box_xyxy: Box, size_wh: Size) -> str:
    """Return the label line of an object, clipped to its image; "" when nothing of it is inside.

    Args:
        number: class, from 0.
        box_xyxy: corners in px of the image.
        size_wh: width and height of the image in px.
    """
    width, height = size_wh
    x1, x2 = (min(max(x, 0.0), float(width)) for x in (box_xyxy[0], box_xyxy[2]))
    y1, y2 = (min(max(y, 0.0), float(height)) for y in (box_xyxy[1], box_xyxy[3]))
    if not (x2 > x1 and y2 > y1):
        return ""
    numbers = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return f"{number} {' '.join(f'{value:.6f}' for value in numbers)}\n"


def size_of(image: Path) -> Size | None:
    """Return width and height in px of an image, without decoding it; None when it cannot be read."""
    try:
        with Image.open(image) as opened:
            return opened.size
    except Exception:  # noqa: BLE001 - a damaged file raises whatever the decoder trips over; the index names it
        return None


def checked_name(name: object, source: Path) -> str:
    """Return the name of an image as annotations give it, if it stays below its folder.

    Raises:
        DataError: it is no text, is absolute or leads outside.
    """
    if not isinstance(name, str) or not name or "\\" in name or "\0" in name:
        raise DataError("not the name of an image", printable(str(source)), repr(name)[:100])
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError("an image outside the data set", printable(str(source)), repr(name)[:100])
    return path.as_posix()


def write_labels(folder: Path, texts: Mapping[str, str]) -> None:
    """Write one file for each image into a new folder; nothing happens where the folder exists.

    Args:
        folder: the labels folder. It is built beside itself and renamed.
        texts: name of the image below its folder (with or without its ending of up to 5 letters) to label lines.
    """
    if folder.exists():
        return
    with whole_folder(folder) as beside:
        made: set[str] = set()
        for name, text in console.progress(texts.items(), len(texts), f"labels {folder.name}", "file"):
            parent, _, file = name.rpartition("/")
            if parent not in made:
                (beside / parent).mkdir(parents=True, exist_ok=True)
                made.add(parent)
            (beside / parent / f"{os.path.splitext(file)[0]}.txt").write_text(text, "utf-8")  # noqa: PTH122


def write_list(file: Path, images: Iterable[str]) -> None:
    """Write a list of images, sorted, relative to the list; nothing happens where the list exists."""
    if not file.exists():
        write_text_atomic(file, "".join(f"./{name}\n" for name in sorted(set(images))))
