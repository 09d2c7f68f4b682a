"""What the annotation files that resemble COCO's have in common: boxes of images in px, by their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from accel_yolo.data.published.json_stream import elements
from accel_yolo.data.published.labels_out import Size, label_line
from accel_yolo.errors import DataError, printable


class Picture(NamedTuple):
    """An image of an annotation file: its name below the folder of labels, and its size in px."""

    name: str
    size_wh: Size


def label_texts(file: Path, pictures: Mapping[Any, Picture], class_of: Mapping[Any, int]) -> dict[str, str]:
    """Return the label lines of each image, by its name; crowds and other categories are left out.

    Args:
        file: the annotation file.
        pictures: its images by their id.
        class_of: class number of each category id.

    Raises:
        DataError: an annotation without image_id, category_id or bbox.
    """
    texts = {picture.name: "" for picture in pictures.values()}
    for number, annotation in enumerate(elements(file, "annotations")):
        try:
            picture, kind = pictures.get(annotation["image_id"]), class_of.get(annotation["category_id"])
            if picture is None or kind is None or annotation.get("iscrowd"):
                continue
            x, y, width, height = (float(value) for value in annotation["bbox"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise bad(file, "annotations", number) from None
        texts[picture.name] += label_line(kind, (x, y, x + width, y + height), picture.size_wh)
    return texts


def bad(file: Path, key: str, number: int) -> DataError:
    """Return the error for an element that is not what the format says."""
    remedy = "get the annotations as they are published"
    return DataError(
        "an element without what the format asks for", f"{printable(str(file))}, key '{key}.{number}'", None, remedy
    )
