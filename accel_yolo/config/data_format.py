"""Which label format a data set has, as its YAML says or as its files show."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accel_yolo.config.shipped import is_dir
from accel_yolo.config.yaml_io import Located
from accel_yolo.errors import DataError, did_you_mean, printable

FORMATS = ("yolo", "coco", "voc")
_LOOKED_AT = 200
"""Files of a folder that are looked at to tell its format."""
_LONGEST_CATEGORIES = 1 << 24


def format_of(located: Located, splits: Mapping[str, Sequence[Path]]) -> str:
    """Return "yolo", "coco" or "voc".

    `format:` says it. Without it: a json is COCO, and so is a folder that holds one; a list under ImageSets and a
    folder JPEGImages are Pascal VOC, and so is a folder with XML files and no text files; all else is YOLO.

    Raises:
        DataError: an unknown format, or splits that are partly COCO.
    """
    written = located.data.get("format")
    if written is not None:
        name = str(written).lower()
        if name not in FORMATS:
            remedy = did_you_mean(name, FORMATS) or f"give one of {', '.join(FORMATS)}, or leave the key out"
            raise DataError("unknown format", located.where("format"), written, remedy)
        return name
    found = {place: _shown_by(place) for places in splits.values() for place in places}
    kinds = set(found.values()) or {"yolo"}
    if len(kinds) > 1:
        kind = {value: place for place, value in found.items()}
        shown = ", ".join(f"{name} ({printable(str(kind[name]))})" for name in sorted(kinds))
        raise DataError("more than one label format", located.file, shown, "write `format:`, or one data YAML for each")
    return kinds.pop()


def coco_file_of(place: Path) -> Path:
    """Return the json of a split: the file itself, or the only one in a folder. Raises DataError."""
    if not is_dir(place):
        return place
    found = sorted(child for child in place.iterdir() if child.suffix == ".json")
    if len(found) != 1:
        names = ", ".join(child.name for child in found) or "none"
        raise DataError("no single COCO json", printable(str(place)), names, "name the file itself in the data YAML")
    return found[0]


def coco_names(file: Path) -> dict[int, str]:
    """Return the category names of a COCO json, numbered from 0 in the order of their ids.

    Only the list of categories is read: the file may be large.

    Raises:
        DataError: there is none.
    """
    content = file.read_bytes()
    start = content.rfind(b'"categories"')
    try:
        opening = content.index(b"[", start)
        text = content[opening : opening + _LONGEST_CATEGORIES].decode("utf-8", "ignore")
        categories, _ = json.JSONDecoder().raw_decode(text)
        ordered = sorted(categories, key=lambda each: each["id"])
        names = [each["name"] for each in ordered]
        if start < 0 or not names or not all(isinstance(name, str) and name for name in names):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        remedy = "write the class names as `names:` into the data YAML"
        raise DataError("no categories with id and name", printable(str(file)), remedy=remedy) from None
    return dict(enumerate(names))


def image_folders(located: Located, root: Path, splits: Iterable[str]) -> dict[str, Path]:
    """Return the folder of the images of each split that `images:` names: one for all, or one for each.

    Raises:
        DataError: not a folder.
    """
    written: Any = located.data.get("images")
    if written is None:
        return {}
    chosen = written if isinstance(written, dict) else dict.fromkeys(splits, written)
    for split, folder in chosen.items():
        where = located.where("images", split) if isinstance(written, dict) else located.where("images")
        if split not in splits:
            raise DataError("no such split", where, split, f"give one of {', '.join(splits)}")
        if not isinstance(folder, str) or (is_dir(root) and not is_dir(root / folder)):
            raise DataError("not a folder", where, folder, "give the folder that file_name is relative to")
    return {split: root / str(folder) for split, folder in chosen.items()}


def _shown_by(place: Path) -> str:
    if place.suffix == ".json":
        return "coco"
    if "ImageSets" in place.parts or "JPEGImages" in place.parts:
        return "voc"
    if not is_dir(place):
        return "yolo"
    endings = set()
    with os.scandir(place) as children:
        for _, child in zip(range(_LOOKED_AT), children, strict=False):
            endings.add(os.path.splitext(child.name)[1].lower())  # noqa: PTH122
    if ".json" in endings and ".txt" not in endings and (place / "_annotations.coco.json").is_file():
        return "coco"
    return "voc" if ".xml" in endings and ".txt" not in endings else "yolo"
