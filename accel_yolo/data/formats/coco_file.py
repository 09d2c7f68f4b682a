"""A COCO json as flat arrays: read once, entry by entry, so that a bad one is named and the others are used."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel_yolo.data.problems import Problem
from accel_yolo.errors import DataError, printable

NO_NUMBER = -1


class _File(msgspec.Struct):
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[dict[str, Any]]


class _Image(msgspec.Struct, gc=False):
    id: int | str
    file_name: str
    width: int | float | None = None
    height: int | float | None = None


class _Annotation(msgspec.Struct, gc=False):
    image_id: int | str
    category_id: int | str
    bbox: tuple[float, float, float, float]
    id: int | str | None = None
    iscrowd: int | bool | None = 0
    segmentation: msgspec.Raw = msgspec.Raw(b"[]")


class _Named(msgspec.Struct):
    """What is left of a bad entry: enough to name it."""

    id: int | str | None = None
    image_id: int | str | None = None


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
        problems: entries that cannot be read, by image: those images are not to be used.
        remarks: findings that cost no image.
    """

    file: str
    ids: list[int | str]
    names: list[str]
    sizes_hw: np.ndarray
    image_of: np.ndarray
    class_of: np.ndarray
    boxes_xywh: np.ndarray
    object_ids: list[int | str | None]
    categories: list[int | str]
    segmentations: list[msgspec.Raw]
    problems: dict[int, list[Problem]]
    remarks: list[Problem]


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
        return msgspec.json.decode(file.read_bytes(), type=_File)
    except OSError as error:
        raise DataError("the annotations cannot be read", printable(str(file)), error.strerror) from None
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        remedy = "it needs the lists images, annotations and categories"
        raise DataError("not a COCO json", printable(str(file)), str(error), remedy) from None


def _category_names(file: Path, categories: list[dict[str, Any]]) -> dict[int | str, str]:
    names: dict[int | str, str] = {}
    for place, category in enumerate(categories):
        number, name = category.get("id"), category.get("name")
        if not isinstance(number, int | str) or not isinstance(name, str) or number in names:
            remedy = "each needs an id of its own and a name"
            raise DataError("bad category", f"{printable(str(file))}, categories[{place}]", str(category), remedy)
        names[number] = name
    return names


def _classes(file: Path, categories: list[dict[str, Any]], class_names: Sequence[str]) -> dict[int | str, int]:
    """Return category to class number. Raises DataError when no category is a class."""
    numbers = {name: number for number, name in enumerate(class_names)}
    names = _category_names(file, categories)
    found = {category: numbers[name] for category, name in names.items() if name in numbers}
    if names and not found:
        theirs, ours = ", ".join(list(names.values())[:5]), ", ".join(class_names[:5])
        remedy = "leave `names:` out of the data YAML to take them from the categories"
        raise DataError("no category is a class", printable(str(file)), f"{theirs} against {ours}", remedy)
    return found


class _Reading:
    """Collects the entries of a file."""

    def __init__(self, file: str, classes: dict[int | str, int]) -> None:
        self.file, self.classes = file, classes
        self.ids: list[int | str] = []
        self.names: list[str] = []
        self.sizes_hw = array("i")
        self.number_of: dict[int | str, int] = {}
        self.image_of, self.class_of, self.boxes = array("i"), array("i"), array("d")
        self.object_ids: list[int | str | None] = []
        self.categories: list[int | str] = []
        self.segmentations: list[msgspec.Raw] = []
        self.problems: dict[int, list[Problem]] = {}
        self.remarks: list[Problem] = []

    def take_images(self, entries: list[msgspec.Raw]) -> None:
        files: dict[str, int | str] = {}
        for place, image in _entries(entries, _Image):
            if isinstance(image, str):
                named = _named(entries[place])
                self.remarks.append(self._problem(f"images[{place}] (id {named.id}) is not an image entry", image))
                continue
            if image.id in self.number_of:
                self.remarks.append(
                    self._problem(f"image id {image.id} comes twice: the first counts", image.file_name)
                )
                continue
            if image.file_name in files:
                rule = f"image id {image.id} names the file of image id {files[image.file_name]}; the first is used"
                self.remarks.append(self._problem(rule, image.file_name))
                continue
            files[image.file_name] = image.id
            self.number_of[image.id] = len(self.ids)
            self.ids.append(image.id)
            self.names.append(image.file_name)
            self.sizes_hw.extend((int(image.height or NO_NUMBER), int(image.width or NO_NUMBER)))

    def take_annotations(self, entries: list[msgspec.Raw]) -> None:
        strangers: list[int | str | None] = []
        for place, found in _entries(entries, _Annotation):
            if isinstance(found, str):
                named = _named(entries[place])
                image = self.number_of.get(named.image_id) if named.image_id is not None else None
                rule = f"image id {named.image_id}, annotation id {named.id} (annotations[{place}]) cannot be read"
                if image is None:
                    self.remarks.append(self._problem(rule, found))
                elif not _is_crowd(entries[place]):
                    self.problems.setdefault(image, []).append(self._problem(rule, found, drops_image=True))
                continue
            image = self.number_of.get(found.image_id)
            if image is None:
                strangers.append(found.image_id)
                continue
            if not found.iscrowd:
                self._take(image, found)
        if strangers:
            rule = f"{len(strangers)} annotations are of images that are not listed; the first of image id"
            self.remarks.append(self._problem(rule, str(strangers[0])))

    def _take(self, image: int, found: _Annotation) -> None:
        self.image_of.append(image)
        self.class_of.append(self.classes.get(found.category_id, NO_NUMBER))
        self.boxes.extend(found.bbox)
        self.object_ids.append(found.id)
        self.categories.append(found.category_id)
        self.segmentations.append(found.segmentation)

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
            problems=self.problems,
            remarks=self.remarks,
        )

    def _problem(self, rule: str, value: str, drops_image: bool = False) -> Problem:
        return Problem(self.file, 0, value, rule, drops_image)


def _entries(entries: list[msgspec.Raw], kind: type) -> Iterator[tuple[int, Any]]:
    """Yield place and entry of each, or place and the text of what is wrong with it."""
    decoder = msgspec.json.Decoder(kind)
    for place, raw in enumerate(entries):
        try:
            yield place, decoder.decode(raw)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            yield place, str(error)


def _named(raw: msgspec.Raw) -> _Named:
    try:
        return msgspec.json.decode(raw, type=_Named)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return _Named()


def _is_crowd(raw: msgspec.Raw) -> bool:
    try:
        return bool(msgspec.json.decode(raw, type=dict).get("iscrowd"))
    except (msgspec.ValidationError, msgspec.DecodeError):
        return False
