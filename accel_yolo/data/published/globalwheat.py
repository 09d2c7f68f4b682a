"""Global Wheat Head Detection 2021: a CSV for each split with the columns image_name, BoxesString and domain.

Format: https://zenodo.org/records/5092309. BoxesString is `x1 y1 x2 y2;x1 y1 x2 y2;...` in px, or `no_box`.
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from accel_yolo.data.published.labels_out import checked_name, label_line, size_of, write_labels, write_list
from accel_yolo.data.published.step import Step
from accel_yolo.errors import DataError, printable

SPLITS = ("train", "val", "test")
ENDINGS = ("", ".png", ".jpg")


def steps(root: Path) -> list[Step]:
    """Return the one step: all splits share a folder of images."""
    results = (root / "labels", *(root / f"{split}.txt" for split in SPLITS))
    return [Step(root / "competition_train.csv", results, partial(_make, root))]


def _make(root: Path) -> None:
    texts: dict[str, str] = {}
    lists = {split: _read(root, root / f"competition_{split}.csv", texts) for split in SPLITS}
    for split, names in lists.items():
        write_list(root / f"{split}.txt", (f"images/{name}" for name in names))
    write_labels(root / "labels", texts)


def _read(root: Path, file: Path, texts: dict[str, str]) -> list[str]:
    """Add the label lines of a split to `texts`; return the names of its images that are on disk."""
    names = []
    with file.open(newline="", encoding="utf-8-sig") as stream:
        for number, row in enumerate(csv.DictReader(stream), start=2):
            where = f"{printable(str(file))}:{number}"
            boxes = row.get("BoxesString")
            if boxes is None:
                raise DataError(
                    "not a Global Wheat annotation", where, remedy="image_name and BoxesString are expected"
                )
            name = _on_disk(root / "images", checked_name(row.get("image_name"), file))
            size = size_of(root / "images" / name) if name else None
            if name is None or size is None:
                continue
            names.append(name)
            # An image may come twice, with the boxes of two annotators' passes: they belong together.
            texts[name] = texts.get(name, "") + "".join(label_line(0, box, size) for box in _boxes(boxes, where))
    return names


def _on_disk(folder: Path, name: str) -> str | None:
    return next((name + ending for ending in ENDINGS if (folder / (name + ending)).is_file()), None)


def _boxes(text: str, where: str) -> list[tuple[float, float, float, float]]:
    found = []
    for part in text.split(";"):
        words = part.split()
        if not words or words == ["no_box"]:
            continue
        try:
            x1, y1, x2, y2 = (float(word) for word in words)
        except ValueError:
            raise DataError("not a box", where, repr(part[:80]), "four numbers are expected") from None
        found.append((x1, y1, x2, y2))
    return found
