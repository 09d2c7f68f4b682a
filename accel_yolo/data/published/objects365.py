"""Objects365 v2: COCO's JSON, 365 categories numbered from 1; the images lie in folders named patch0, patch1, ..."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from accel_yolo.data.published.coco_like import Picture, bad, label_texts
from accel_yolo.data.published.json_stream import elements
from accel_yolo.data.published.labels_out import checked_name, write_labels
from accel_yolo.data.published.step import Step

SPLITS = ("train", "val")
CLASSES = 365


def steps(root: Path) -> list[Step]:
    """Return one step for each split."""
    files = {split: root / f"zhiyuan_objv2_{split}.json" for split in SPLITS}
    return [
        Step(file, (root / "labels" / split,), partial(_make, file, root / "labels" / split))
        for split, file in files.items()
    ]


def _make(file: Path, labels: Path) -> None:
    pictures: dict[int, Picture] = {}
    for number, image in enumerate(elements(file, "images")):
        try:
            # "images/v1/patch8/objects365_v1_00420917.jpg": only the patch is a folder on disk.
            name = "/".join(checked_name(image["file_name"], file).split("/")[-2:])
            pictures[image["id"]] = Picture(name, (int(image["width"]), int(image["height"])))
        except (KeyError, TypeError, ValueError):
            raise bad(file, "images", number) from None
    write_labels(labels, label_texts(file, pictures, {number + 1: number for number in range(CLASSES)}))
