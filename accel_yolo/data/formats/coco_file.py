"""A COCO json as flat arrays: read once, entry by entry, so that a bad one is named and the others are used."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel_yolo.config.data_format import MAX_COCO_BYTES
from accel_yolo.data.problems import Problem
from accel_yolo.errors import DataError, printable
from accel_yolo.files import read_within

NO_NUMBER = -1
_BOM = b"\xef\xbb\xbf"
_MOST_PX = 1 << 30
_LISTS = ("images", "annotations", "categories")

Id = int | float | str


class _File(msgspec.Struct):
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[dict[str, Any]]


class _Image(msgspec.Struct, gc=False):
    id: Id
    file_name: str
    width: Id | None = None
    height: Id | None = None


class _Annotation(msgspec.Struct, gc=False):
    image_id: Id
    category_id: Id
    bbox: tuple[float, float, float, float]
    id: Id | None = None
    iscrowd: int | bool | None = 0
    segmentation: msgspec.Raw = msgspec.Raw(b"[]")


class _Named(msgspec.Struct):
    """What is left of a bad entry: enough to name it."""

    id: Id | None = None
    image_id: Id | None = None


@dataclass(frozen=True)
class CocoFile:
    """The images and objects of a COCO json; crowds are left out, as everywhere in training.

    Attributes:
        file: its path.
        ids: [n] ids of the images, numbers or texts.
        names: [n] their file names.
        sizes_hw: [n, 2] int32 as the file says, px; -1 where it does not.
        image_of: [m] int32, the image of each object, in rising order; objects of one image keep the file's order.
        class_of: [m] int32, number of its class; -1 for a category that is none of the classes.
        boxes_xywh: [m, 4] float64, left, top, width, height in px.
        object_ids: [m] ids of the annotations.
        categories: [m] categories as written.
        segmentations: [m] JSON texts.
        category_ids: number of a class to the id of its category.
        problems: objects that cannot be read, by image: those images are not to be used.
        findings: what else is wrong: image entries that cannot be used, and remarks.
    """

    file: str
    ids: list[Id]
    names: list[str]
    sizes_hw: np.ndarray
    image_of: np.ndarray
    class_of: np.ndarray
    boxes_xywh: np.ndarray
    object_ids: list[Id | None]
    categories: list[Id]
    segmentations: list[msgspec.Raw]
    category_ids: dict[int, Id]
    problems: dict[int, list[Problem]]
    findings: list[Problem]


def read_coco(file: Path, class_names: Sequence[str]) -> CocoFile:
    """Return the content of a COCO json.

    Args:
        file: its path.
        class_names: the classes in order; categories are theirs by name, whatever their numbers are.

    Raises:
        DataError: it is no COCO json, or its categories have none of the classes.
    """
    content = _decoded(file)
    classes = _classes(file, content.categories, class_names)
    reading = _Reading(str(file), classes)
    reading.take_images(content.images)
    content.images = []
    reading.take_annotations(content.annotations)
    return reading.finished()


def _decoded(file: Path) -> _File:
    try:
        content = read_within(file, MAX_COCO_BYTES).removeprefix(_BOM)
        try:
            return msgspec.json.decode(content, type=_File)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return _decoded_leniently(content)
    except OSError as error:
        raise DataError("the annotations cannot be read", printable(str(file)), error.strerror) from None
    except (ValueError, RecursionError) as error:
        remedy = f"it needs the lists {', '.join(_LISTS)}"
        raise DataError("not a COCO json", printable(str(file)), str(error), remedy) from None


def _decoded_leniently(content: bytes) -> _File:
    """Return the content of a file with NaN and Infinity in it, which Python writes and JSON does not have.

    They become null, so that only an entry that needs the number is bad.

    Raises:
        ValueError: it is no JSON either way.
    """
    found = msgspec.convert(json.loads(content), dict[str, Any])
    return msgspec.json.decode(msgspec.json.encode({key: found[key] for key in _LISTS if key in found}), type=_File)


def _classes(file: Path, categories: list[dict[str, Any]], class_names: Sequence[str]) -> dict[Id, int]:
    """Return category to class number. Raises DataError when no category is a class."""
    names: dict[Id, str] = {}
    for place, category in enumerate(categories):
        number, name = category.get("id"), category.get("name")
        if not isinstance(number, int | float | str) or not isinstance(name, str) or number in names:
            remedy = "each needs an id of its own and a name"
            raise DataError("bad category", f"{printable(str(file))}, categories[{place}]", str(category), remedy)
        names[number] = name
    numbers = {name: number for number, name in enumerate(class_names)}
    found = {category: numbers[name] for category, name in names.items() if name in numbers}
    if names and not found:
        theirs, ours = ", ".join(list(names.values())[:5]), ", ".join(class_names[:5])
        remedy = "leave `names:` out of the data YAML to take them from the categories"
        raise DataError("no category is a class", printable(str(file)), f"{theirs} against {ours}", remedy)
    return found


class _Reading:
    """Collects the entries of a file."""

    def __init__(self, file: str, classes: dict[Id, int]) -> None:
        self.file, self.classes = file, classes
        self.ids: list[Id] = []
        self.names: list[str] = []
        self.sizes_hw = array("i")
        self.number_of: dict[Id, int] = {}
        self.image_of, self.class_of, self.boxes = array("i"), array("i"), array("d")
        self.object_ids: list[Id | None] = []
        self.categories: list[Id] = []
        self.segmentations: list[msgspec.Raw] = []
        self.problems: dict[int, list[Problem]] = {}
        self.findings: list[Problem] = []

    def take_images(self, entries: list[msgspec.Raw]) -> None:
        files: dict[str, Id] = {}
        for place, image in _entries(entries, _Image):
            size_hw = image if isinstance(image, str) else _size_hw(image)
            if isinstance(image, str) or isinstance(size_hw, str):
                rule = f"images[{place}] (image id {_named(entries[place]).id}) cannot be read"
                self._find(rule, str(size_hw), drops_image=True)
                continue
            name = os.path.normpath(image.file_name)
            if image.id in self.number_of:
                self._find(f"image id {image.id} comes twice: the first counts", image.file_name, drops_image=True)
                continue
            if name in files:
                rule = f"image id {image.id} names the file of image id {files[name]}: the first counts"
                self._find(rule, image.file_name, drops_image=True)
                continue
            files[name] = image.id
            self.number_of[image.id] = len(self.ids)
            self.ids.append(_plain(image.id))
            self.names.append(image.file_name)
            self.sizes_hw.extend(size_hw)

    def take_annotations(self, entries: list[msgspec.Raw]) -> None:
        strangers: list[Id] = []
        for place, found in _entries(entries, _Annotation):
            if isinstance(found, str):
                self._take_bad(entries[place], place, found)
            elif found.image_id not in self.number_of:
                strangers.append(found.image_id)
            elif not found.iscrowd:
                self._take(self.number_of[found.image_id], found)
        if strangers:
            rule = f"{len(strangers)} annotations are of images that are not listed; the first of image id"
            self._find(rule, str(strangers[0]))

    def _take(self, image: int, found: _Annotation) -> None:
        self.image_of.append(image)
        self.class_of.append(self.classes.get(found.category_id, NO_NUMBER))
        self.boxes.extend(found.bbox)
        self.object_ids.append(None if found.id is None else _plain(found.id))
        self.categories.append(_plain(found.category_id))
        self.segmentations.append(found.segmentation)

    def _take_bad(self, entry: msgspec.Raw, place: int, what: str) -> None:
        named = _named(entry)
        rule = f"image id {named.image_id}, annotation id {named.id} (annotations[{place}]) cannot be read"
        image = None if named.image_id is None else self.number_of.get(named.image_id)
        if image is None:
            self._find(rule, what)
        elif not _is_crowd(entry):
            self.problems.setdefault(image, []).append(Problem(self.file, 0, what, rule))

    def finished(self) -> CocoFile:
        image_of = np.array(self.image_of, np.int32)
        order = np.argsort(image_of, kind="stable")
        return CocoFile(
            file=self.file,
            ids=self.ids,
            names=self.names,
            sizes_hw=np.array(self.sizes_hw, np.int32).reshape(-1, 2),
            image_of=image_of[order],
            class_of=np.array(self.class_of, np.int32)[order],
            boxes_xywh=np.array(self.boxes, np.float64).reshape(-1, 4)[order],
            object_ids=[self.object_ids[place] for place in order],
            categories=[self.categories[place] for place in order],
            segmentations=[self.segmentations[place] for place in order],
            category_ids={number: _plain(category) for category, number in self.classes.items()},
            problems=self.problems,
            findings=self.findings,
        )

    def _find(self, rule: str, value: str, drops_image: bool = False) -> None:
        self.findings.append(Problem(self.file, 0, value, rule, drops_image))


def _entries(entries: list[msgspec.Raw], kind: type) -> Iterator[tuple[int, Any]]:
    """Yield place and entry of each, or place and the text of what is wrong with it."""
    decoder = msgspec.json.Decoder(kind)
    for place, raw in enumerate(entries):
        try:
            yield place, decoder.decode(raw)
        except (ValueError, RecursionError) as error:
            yield place, str(error)


def _named(raw: msgspec.Raw) -> _Named:
    try:
        return msgspec.json.decode(raw, type=_Named)
    except (ValueError, RecursionError):
        return _Named()


def _is_crowd(raw: msgspec.Raw) -> bool:
    try:
        return msgspec.json.decode(raw, type=dict).get("iscrowd") in (1, True)
    except (ValueError, RecursionError):
        return False


def _size_hw(image: _Image) -> tuple[int, int] | str:
    """Return the (height, width) that an entry gives, -1 for what it does not give; or what is wrong with them."""
    sides = []
    for name in ("height", "width"):
        value = getattr(image, name)
        try:
            side = NO_NUMBER if value is None else int(float(value))
        except (ValueError, OverflowError):
            side = 0
        if side != NO_NUMBER and not 0 < side < _MOST_PX:
            return f"{name} {value}"
        sides.append(side)
    return sides[0], sides[1]


def _plain(number: Id) -> Id:
    """Return an id as it is meant: 7.0 is 7."""
    return int(number) if isinstance(number, float) and number.is_integer() else number
