"""Which label format a data set has, as its YAML says or as its files show."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accel_yolo.config.shipped import is_dir
from accel_yolo.config.yaml_io import Located
from accel_yolo.errors import DataError, EnvironmentFault, did_you_mean, printable
from accel_yolo.files import cache_dir, read_within, sha256_bytes, write_text_atomic

FORMATS = ("yolo", "coco", "voc")
MAX_COCO_BYTES = 8 << 30
"""The largest published data set has 6 GiB in one file."""
_ANNOTATION_FOLDERS = (("JPEGImages", "Annotations"), ("images", "annotations"), ("images", "Annotations"))
_LOOKED_AT = 200
"""Files of a folder that are looked at to tell its format."""


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
        raise DataError(
            "more than one label format", located.file, shown, "write one data YAML for each: several may be given"
        )
    return kinds.pop()


def coco_file_of(place: Path) -> Path:
    """Return the json of a split: the file itself, or the only one in a folder. Raises DataError."""
    if not is_dir(place):
        return place
    try:
        found = sorted(child for child in place.iterdir() if child.suffix == ".json")
    except OSError as error:
        raise DataError("the folder cannot be searched", printable(str(place)), error.strerror) from None
    if len(found) != 1:
        names = ", ".join(child.name for child in found) or "none"
        raise DataError("no single COCO json", printable(str(place)), names, "name the file itself in the data YAML")
    return found[0]


def coco_names(file: Path) -> dict[int, str]:
    """Return the category names of a COCO json, numbered from 0 in the order of their ids.

    They are kept for the next time: a large file takes seconds, in every process.

    Raises:
        DataError: there is none.
    """
    kept = _kept_names(file)
    with contextlib.suppress(OSError, ValueError, TypeError):
        return dict(enumerate(json.loads(kept.read_text("utf-8"))))
    names = _read_names(file)
    with contextlib.suppress(EnvironmentFault):
        write_text_atomic(kept, json.dumps(names))
    return dict(enumerate(names))


def looks_like_coco(file: Path) -> bool:
    """Return whether a json has the lists of COCO; other jsons lie beside data sets too."""
    import msgspec

    lists = msgspec.defstruct("Lists", [(name, list[msgspec.Raw]) for name in ("images", "annotations", "categories")])
    if _kept_names(file).is_file():  # it was read as one before
        return True
    try:
        msgspec.json.decode(read_within(file, MAX_COCO_BYTES).removeprefix(b"\xef\xbb\xbf"), type=lists)
    except msgspec.ValidationError:
        return False
    except (OSError, ValueError, RecursionError):  # what is wrong with it is told by who reads it
        return True
    return True


def voc_names(folders: Sequence[Path]) -> list[str]:
    """Return the class names in the Pascal VOC files of some folders, sorted.

    Raises:
        DataError: there is none.
    """
    import defusedxml
    import defusedxml.ElementTree

    names: set[str] = set()
    bad = (defusedxml.ElementTree.ParseError, defusedxml.DefusedXmlException, ValueError, OSError)
    for file in (path for folder in folders for path in folder.rglob("*.xml")):
        # What is wrong with a file is told by who reads its objects.
        with contextlib.suppress(*bad):
            objects = defusedxml.ElementTree.parse(file).iter("object")
            names.update((each.findtext("name") or "").strip() for each in objects)
    if not names - {""}:
        place = ", ".join(printable(str(folder)) for folder in folders)
        raise DataError("no objects with a name", place, remedy="give the folder of a Pascal VOC data set")
    return sorted(names - {""})


def _kept_names(file: Path) -> Path:
    try:
        found = file.stat()
    except OSError as error:
        raise DataError("the annotations cannot be read", printable(str(file)), error.strerror) from None
    state = f"{file.absolute()}\0{found.st_size}\0{found.st_mtime_ns}"
    return cache_dir() / "categories" / f"{sha256_bytes(os.fsencode(state))[:32]}.json"


def _read_names(file: Path) -> list[str]:
    """Return the names in the order of their ids. Raises DataError, see `coco_names`."""
    import msgspec  # reads the rest of a large file past without keeping it

    class Categories(msgspec.Struct):
        categories: list[dict[str, Any]]

    try:
        found = msgspec.json.decode(
            read_within(file, MAX_COCO_BYTES).removeprefix(b"\xef\xbb\xbf"), type=Categories
        ).categories
    except msgspec.ValidationError:
        found = []
    except (ValueError, RecursionError):  # numbers that JSON does not have: read with care later
        found = _categories_in_text(file)
    except OSError as error:
        raise DataError("the annotations cannot be read", printable(str(file)), error.strerror) from None
    try:
        names = [each["name"] for each in sorted(found, key=lambda each: each["id"])]
    except (KeyError, TypeError):
        names = []
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        remedy = "write the class names as `names:` into the data YAML"
        raise DataError("no categories with id and name", printable(str(file)), remedy=remedy)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        remedy = "write `names:` into the data YAML: categories of one name are then one class"
        raise DataError("two categories have one name", printable(str(file)), twice, remedy)
    return names


def _categories_in_text(file: Path) -> list[Any]:
    try:
        found = json.loads(read_within(file, MAX_COCO_BYTES).removeprefix(b"\xef\xbb\xbf"))["categories"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return found if isinstance(found, list) else []


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
    if place.suffix == ".txt" and "ImageSets" in place.parts:
        top = Path(*place.parts[: place.parts.index("ImageSets")])
        return "voc" if is_dir(top / "JPEGImages") or not place.exists() else "yolo"
    if not is_dir(place):
        return "voc" if "JPEGImages" in place.parts else "yolo"
    endings = endings_of(place)
    if ".json" in endings and ".txt" not in endings and (place / "_annotations.coco.json").is_file():
        return "coco"
    if ".txt" in endings:
        return "yolo"
    if ".xml" in endings:
        return "voc"
    for of, to in _ANNOTATION_FOLDERS:
        # The last folder of that name in the path, replaced.
        parts = list(place.parts)
        if of in parts:
            at = len(parts) - 1 - parts[::-1].index(of)
            if ".xml" in endings_of(Path(*parts[:at], to, *parts[at + 1 :])):
                return "voc"
    return "yolo"


def endings_of(folder: Path) -> set[str]:
    """Return the endings of the first files of a folder, in small letters; none of one that cannot be searched."""
    try:
        with os.scandir(folder) as children:
            first = [child.name for _, child in zip(range(_LOOKED_AT), children, strict=False)]
    except OSError:
        return set()
    return {os.path.splitext(name)[1].lower() for name in first}  # noqa: PTH122
