"""The pictures of a run, made small enough to be part of a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES, MOST_BYTES_OF_WORST = 145_000, 450_000
"""Of one picture as JPEG; all of them, in base64, are less than 3 MB."""
LONGEST_PX = 1600
_QUALITIES = (82, 68)
_ROOM = 0.95
_MOST_PIXELS = 200_000_000


@dataclass(frozen=True)
class Picture:
    """A picture as a page shows it.

    Attributes:
        name: of its file.
        title: what it is.
        alt: what it shows, for who cannot see it.
        source: data URI; "" where it cannot be shown.
        size: width and height, px.
        problem: why it cannot be shown, a sentence.
    """

    name: str
    title: str
    alt: str
    source: str = ""
    size: tuple[int, int] = (0, 0)
    problem: str = ""


@dataclass(frozen=True)
class Group:
    """Pictures that belong together."""

    title: str
    about: str
    pictures: list[Picture]


_BATCHES = range(3)
WORST = (
    "worst.jpg",
    "The worst images",
    "The images with the most mistakes, with labels and detections drawn on them.",
)
_GROUPS = (
    (
        "Validation images",
        "The labels beside what the best weights found.",
        [
            (f"val_batch{number}_{kind}.jpg", f"Batch {number + 1}: {title}", f"Validation images with {shown} drawn.")
            for number in _BATCHES
            for kind, title, shown in (("labels", "labels", "their labels"), ("pred", "predictions", "predictions"))
        ],
    ),
    (
        "Training images",
        "The first batches as the network saw them, after augmentation.",
        [
            (f"train_batch{number}.jpg", f"Batch {number + 1}", "Augmented training images with their boxes.")
            for number in _BATCHES
        ],
    ),
    (
        "Labels of the training set",
        "How many objects of each class there are, and where and how large they are.",
        [
            ("labels.jpg", "Classes, places and sizes", "Counts of objects by class, outlines, places and sizes."),
            ("labels_correlogram.jpg", "Places and sizes against each other", "Box centre, width and height in pairs."),
        ],
    ),
)


def picture_groups(folder: Path) -> list[Group]:
    """Return the groups of pictures of a run of which at least one is there."""
    groups = []
    for title, about, entries in _GROUPS:
        there = [picture(folder, *entry) for entry in entries if (folder / entry[0]).exists()]
        groups += [Group(title, about, there)] if there else []
    return groups


def picture(folder: Path, name: str, title: str, alt: str) -> Picture:
    """Return a picture of a run folder, scaled down; one that cannot be read says so."""
    from PIL import Image, UnidentifiedImageError

    path = folder / name
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                return Picture(name, title, alt, problem=f"{name} is too large to be shown.")
            image.thumbnail((LONGEST_PX, LONGEST_PX))  # before anything loads it: a JPEG is decoded at a fraction
            most = MOST_BYTES_OF_WORST if name == WORST[0] else MOST_BYTES
            content, size = _small(image.convert("RGB"), most)
    except FileNotFoundError:
        return Picture(name, title, alt, problem=f"{name} is not there.")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Picture(name, title, alt, problem=f"{name} is damaged: it is not a picture.")
    source = f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"
    return Picture(name, title, alt, source, size)


def _small(image: object, most_bytes: int) -> tuple[bytes, tuple[int, int]]:
    """Return a JPEG of at most `most_bytes` and its size in px: first its quality goes, then its size."""
    from PIL import Image

    assert isinstance(image, Image.Image)
    while True:
        for quality in _QUALITIES:
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=quality)
            if stream.tell() <= most_bytes:
                return stream.getvalue(), image.size
        scale = _ROOM * (most_bytes / stream.tell()) ** 0.5  # bytes go with the area
        image = image.resize((max(1, int(image.width * scale)), max(1, int(image.height * scale))))
