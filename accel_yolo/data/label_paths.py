"""Where the label file of an image lies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

YOLO, VOC = "yolo", "voc"
# Where tools put VOC annotations: of the folder of images, and of its place in the path.
_VOC_FOLDERS = (
    ("JPEGImages", "Annotations"),
    ("images", "annotations"),
    ("images", "Annotations"),
    ("images", "labels"),
    ("images", "xmls"),
)


def label_path_of(image_path: str, kind: str = YOLO) -> str:
    """Return the label file of an image.

    YOLO: the last `/images/` becomes `/labels/`, the ending `.txt`. VOC: the last `/JPEGImages/` becomes
    `/Annotations/`, or `/images/` one of the names that tools give it; the ending `.xml`, and without such a folder
    the file lies beside the image.
    """
    moved, ending = PLACES[kind]
    return os.path.splitext(moved(image_path))[0] + ending  # noqa: PTH122 - text, may hold bytes that are not UTF-8


def voc_annotation_of(image_path: str) -> str:
    """Return the annotation file of an image below JPEGImages, whether or not its folder is there yet."""
    return os.path.splitext(_moved(image_path, *_VOC_FOLDERS[0]))[0] + PLACES[VOC][1]  # noqa: PTH122


def label_paths_of(image_paths: Iterable[str], kind: str = YOLO) -> list[str]:
    """Return `label_path_of` of each, for 10^5 images: what it does to a folder is found once for each folder."""
    folders: dict[str, str] = {}
    found = []
    _, ending = PLACES[kind]
    for path in image_paths:
        folder, separator, name = path.rpartition(os.sep)
        moved = folders.get(folder)
        if moved is None:
            moved = folders[folder] = label_path_of(f"{folder}{separator}x.x", kind).removesuffix(f"x{ending}")
        stem = name.rpartition(".")[0]
        # A name that begins with its only dots has no ending: see os.path.splitext.
        found.append(f"{moved}{stem}{ending}" if stem and name[0] != "." else label_path_of(path, kind))
    return found


def _moved(image_path: str, of: str = "images", to: str = "labels") -> str:
    folder, separator, rest = image_path.rpartition(f"{os.sep}{of}{os.sep}")
    return f"{folder}{os.sep}{to}{os.sep}{rest}" if separator else image_path


def _moved_voc(image_path: str) -> str:
    for of, to in _VOC_FOLDERS:
        moved = _moved(image_path, of, to)
        if moved != image_path and os.path.isdir(os.path.dirname(moved)):  # noqa: PTH112, PTH120
            return moved
    return image_path


PLACES: Mapping[str, tuple[Callable[[str], str], str]] = {YOLO: (_moved, ".txt"), VOC: (_moved_voc, ".xml")}
"""Formats with a label file for each image: what makes its path of that of the image, and its ending."""
