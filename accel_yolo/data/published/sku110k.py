"""SKU-110K: a CSV for each split, `image,x1,y1,x2,y2,class,image_width,image_height`, without a header; one class."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from accel_yolo.data.published.labels_out import checked_name, label_line, write_labels, write_list
from accel_yolo.data.published.step import Step
from accel_yolo.errors import DataError, printable

SPLITS = ("train", "val", "test")


def steps(root: Path) -> list[Step]:
    """Return the one step: all splits share a folder of images."""
    results = (root / "labels", *(root / f"{split}.txt" for split in SPLITS))
    return [Step(root / "annotations", results, partial(_make, root))]


def _make(root: Path) -> None:
    texts: dict[str, str] = {}
    lists = {split: _read(root / "annotations" / f"annotations_{split}.csv", texts) for split in SPLITS}
    for split, names in lists.items():
        write_list(root / f"{split}.txt", (f"images/{name}" for name in names))
    write_labels(root / "labels", texts)


def _read(file: Path, texts: dict[str, str]) -> list[str]:
    """Add the label lines of a split to `texts`; return the names of its images."""
    names: dict[str, None] = {}
    with file.open(newline="", encoding="utf-8-sig") as stream:
        for number, row in enumerate(csv.reader(stream), start=1):
            if not row:
                continue
            try:
                x1, y1, x2, y2 = (float(word) for word in row[1:5])
                size = int(row[6]), int(row[7])
            except (ValueError, IndexError):
                where = f"{printable(str(file))}:{number}"
                raise DataError("not an SKU-110K annotation", where, repr(",".join(row)[:80])) from None
            name = checked_name(row[0], file)
            names[name] = None
            texts[name] = texts.get(name, "") + label_line(0, (x1, y1, x2, y2), size)
    return list(names)
