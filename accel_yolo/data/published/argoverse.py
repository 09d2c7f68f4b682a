"""Argoverse-HD: JSON that resembles COCO's, where an image names its sequence (`sid`) and `seq_dirs` its folder.

Format: https://github.com/mtli/sAP, doc/data_setup.md. The images are those of Argoverse 1.1 "tracking".
"""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path

from accel_yolo.data.published.coco_like import Picture, bad, label_texts
from accel_yolo.data.published.json_stream import elements
from accel_yolo.data.published.labels_out import checked_name, write_labels, write_list
from accel_yolo.data.published.step import Step

SPLITS = ("train", "val")
FOLDER = "Argoverse-1.1"
CLASSES = ("person", "bicycle", "car", "motorcycle", "bus", "truck", "traffic_light", "stop_sign")


def steps(root: Path) -> list[Step]:
    """Return one step for each split."""
    return [
        Step(
            root / "Argoverse-HD" / "annotations" / f"{split}.json",
            (root / FOLDER / "labels" / split, root / f"{split}.txt"),
            partial(_make, root, split),
        )
        for split in SPLITS
    ]


def _make(root: Path, split: str) -> None:
    file = root / "Argoverse-HD" / "annotations" / f"{split}.json"
    folders = [checked_name(name, file) for name in elements(file, "seq_dirs")]
    pictures: dict[int, Picture] = {}
    for number, image in enumerate(elements(file, "images")):
        try:
            # The folder of a sequence begins with the split: "train/<log>/ring_front_center".
            name = f"{folders[image['sid']]}/{checked_name(image['name'], file)}"
            if not name.startswith(f"{split}/"):
                raise ValueError
            pictures[image["id"]] = Picture(name, (int(image["width"]), int(image["height"])))
        except (KeyError, TypeError, ValueError, IndexError):
            raise bad(file, "images", number) from None
    _images_folder(root / FOLDER)
    write_list(root / f"{split}.txt", (f"{FOLDER}/images/{picture.name}" for picture in pictures.values()))
    texts = label_texts(file, pictures, _class_of(file))
    write_labels(
        root / FOLDER / "labels" / split, {name.removeprefix(f"{split}/"): text for name, text in texts.items()}
    )


def _class_of(file: Path) -> dict[int, int]:
    numbers = {}
    for place, category in enumerate(elements(file, "categories")):
        try:
            name = str(category["name"]).replace(" ", "_")
            numbers[category["id"]] = CLASSES.index(name)
        except (KeyError, TypeError, ValueError):
            raise bad(file, "categories", place) from None
    return numbers


def _images_folder(folder: Path) -> None:
    """Give `tracking` the second name `images`, from which the folder of labels follows."""
    if not (folder / "images").exists() and (folder / "tracking").is_dir():
        with contextlib.suppress(OSError):
            (folder / "images").symlink_to("tracking", target_is_directory=True)
