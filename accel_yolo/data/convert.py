"""A data set in another format, or in parts: label files, lists and a data YAML, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accel_yolo.config.yaml_io import dump_yaml
from accel_yolo.data.formats.writing import WrittenImage, coco_content, voc_text, yolo_text
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.errors import ConfigError, DataError, EnvironmentFault, printable
from accel_yolo.files import write_text_atomic

_IMAGES = {"yolo": "images", "coco": "images", "voc": "JPEGImages"}
_MARKER = "data.yaml"


@dataclass(frozen=True)
class Written:
    """What has been written.

    Attributes:
        data: the data YAML.
        images, objects: how many.
        outlines_left_out: objects whose outline the format cannot hold beside their box.
    """

    data: Path
    images: int
    objects: int
    outlines_left_out: int


def new_folder(folder: Path) -> Path:
    """Return a folder that is to be written into; it must be new or empty, so that nothing is overwritten.

    Raises:
        ConfigError: there is something in it.
        EnvironmentFault: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError("the folder is not empty", "--into", printable(str(folder)), "name a new one")
    except OSError as error:
        raise EnvironmentFault("the folder cannot be made", printable(str(folder)), error.strerror) from None
    return folder


def write_data_set(
    folder: Path, indices: Mapping[str, SplitIndex], names: Mapping[int, str], kind: str, *, copy: bool
) -> Written:
    """Write splits in a format into a new folder; its data YAML comes last.

    Args:
        folder: new or empty.
        indices: split to its images.
        names: class number to name.
        kind: "yolo", "coco" or "voc".
        copy: copy the images; otherwise they are hard links, or copies where links cannot be.

    Raises:
        DataError: a name that the format cannot hold.
        EnvironmentFault: a file cannot be written.
    """
    new_folder(folder)
    if kind != "yolo":
        _require_text(indices)
    places, left_out = {}, 0
    try:
        for split, index in indices.items():
            images = _placed(folder / _IMAGES[kind] / split, index, copy)
            if kind == "yolo":
                left_out += _write_yolo(folder / "labels" / split, images)
                places[split] = f"images/{split}"
            elif kind == "voc":
                _write_voc(folder, split, images, names)
                places[split] = f"ImageSets/Main/{split}.txt"
            else:
                content = coco_content(images, names)
                write_text_atomic(folder / "annotations" / f"{split}.json", json.dumps(content))
                places[split] = f"annotations/{split}.json"
    except OSError as error:
        raise EnvironmentFault("the data set cannot be written", printable(str(folder)), error.strerror) from None
    data = folder / _MARKER
    write_data_yaml(data, places, names, kind)
    images = sum(map(len, indices.values()))
    return Written(data, images, sum(len(index.labels) for index in indices.values()), left_out)


def write_data_yaml(
    file: Path, places: Mapping[str, str], names: Mapping[int, str], kind: str, more: Mapping[str, object] | None = None
) -> None:
    """Write a data YAML whose splits lie beside it."""
    content = {**places, **({"format": kind} if kind != "yolo" else {}), **(more or {}), "names": dict(names)}
    write_text_atomic(file, dump_yaml(content))


def _placed(folder: Path, index: SplitIndex, copy: bool) -> list[WrittenImage]:
    """Put the images into a folder, their own folders below what all have in common, and return what to write."""
    written = []
    for number, name in enumerate(names_below(index.paths)):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _place(index.paths[number], target, copy)
        height, width = index.sizes_hw[number].tolist()
        written.append(WrittenImage(name, (height, width), index.labels_of(number), index.polygons_of(number)))
    return written


def names_below(paths: Sequence[str]) -> list[str]:
    """Return the names of images below the folder that they have in common."""
    if not paths:
        return []
    top = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
    names = [os.path.relpath(path, top) for path in paths]
    stems = {os.path.splitext(name)[0] for name in names}  # noqa: PTH122
    if len(stems) < len(names):
        twice = next(name for name in names if _shares_stem(name, names))
        remedy = "rename one of them: their label files would be the same"
        raise DataError("two images differ in their ending only", printable(top), printable(twice), remedy)
    return names


def _require_text(indices: Mapping[str, SplitIndex]) -> None:
    """Check that all names can be written into a text file. Raises DataError."""
    for index in indices.values():
        for path in index.paths:
            if not path.isprintable() or any("\udc80" <= letter <= "\udcff" for letter in path):
                remedy = "rename it: lists and json hold plain text only"
                raise DataError("a name that is not text", printable(path), remedy=remedy)


def _shares_stem(name: str, names: Sequence[str]) -> bool:
    stem = os.path.splitext(name)[0]  # noqa: PTH122
    return sum(os.path.splitext(other)[0] == stem for other in names) > 1  # noqa: PTH122


def _place(source: str, target: Path, copy: bool) -> None:
    real = os.path.realpath(source)
    if not copy:
        try:
            os.link(real, target)
        except OSError:  # another file system, or one without links
            pass
        else:
            return
    shutil.copyfile(real, target)


def _write_yolo(folder: Path, images: Sequence[WrittenImage]) -> int:
    left_out = 0
    for image in images:
        text, missing = yolo_text(image)
        left_out += missing
        file = (folder / image.name).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return left_out


def _write_voc(folder: Path, split: str, images: Sequence[WrittenImage], names: Mapping[int, str]) -> None:
    for image in images:
        file = (folder / "Annotations" / split / image.name).with_suffix(".xml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(voc_text(image, names, os.path.basename(image.name)), "utf-8")  # noqa: PTH119
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{split}/{os.path.splitext(image.name)[0]}\n" for image in images)  # noqa: PTH122
    (lists / f"{split}.txt").write_text(text)
