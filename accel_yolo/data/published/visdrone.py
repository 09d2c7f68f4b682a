"""VisDrone 2019 detection: one text file for each image, `left,top,width,height,score,category,truncation,occlusion`.

Format: http://aiskyeye.com/evaluate/results-format_2021/. A score of 0 and category 0 mark what evaluation ignores,
category 11 is "others"; the ten categories between are the classes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from accel_yolo.data.listing import is_image_name
from accel_yolo.data.published.labels_out import Size, label_line, size_of, write_labels
from accel_yolo.data.published.step import Step
from accel_yolo.errors import DataError, printable

SPLITS = ("VisDrone2019-DET-train", "VisDrone2019-DET-val", "VisDrone2019-DET-test-dev")
CATEGORIES = range(1, 11)


def steps(root: Path) -> list[Step]:
    """Return one step for each split."""
    folders = [root / split for split in SPLITS]
    return [Step(folder / "annotations", (folder / "labels",), partial(_make, folder)) for folder in folders]


def _make(folder: Path) -> None:
    texts: dict[str, str] = {}
    for image in sorted((folder / "images").iterdir()):
        annotation = folder / "annotations" / f"{image.stem}.txt"
        size = size_of(image) if is_image_name(image.name) and annotation.is_file() else None
        if size is not None:
            texts[image.name] = _labels(annotation, size)
    write_labels(folder / "labels", texts)


def _labels(annotation: Path, size_wh: Size) -> str:
    text = ""
    for number, line in enumerate(annotation.read_text("utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            left, top, width, height, score, category = (int(word) for word in line.split(",")[:6])
        except ValueError:
            where = f"{printable(str(annotation))}:{number}"
            raise DataError("not a VisDrone annotation", where, repr(line[:80]), "eight numbers are expected") from None
        if score and category in CATEGORIES:
            text += label_line(category - 1, (left, top, left + width, top + height), size_wh)
    return text
