"""A data set in another format: images, label files, lists and a data YAML, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accel_yolo.config.yaml_io import dump_yaml
from accel_yolo.data.formats.writing import WrittenImage, coco_content, voc_text, yolo_text
from accel_yolo.data.label_paths import label_path_of, voc_annotation_of
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.errors import ConfigError, DataError, EnvironmentFault, printable
from accel_yolo.files import whole_folder, write_text_atomic

_IMAGES = {"yolo": "images", "coco": "images", "voc": "JPEGImages"}
DATA_YAML = "data.yaml"
"""The name of the data YAML that is written."""


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


def require_new(folder: Path, flag: str) -> None:
    """Check that a folder typed after a flag is new or empty: nothing is overwritten. Raises ConfigError."""
    try:
        taken = (folder.exists() or folder.is_symlink()) and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise EnvironmentFault("cannot look into the folder", printable(str(folder)), error.strerror) from None
    if taken:
        what = "the folder is not empty" if folder.is_dir() else "not a folder"
        raise ConfigError(what, flag, printable(str(folder)), "name a new one")


def write_data_set(
    folder: Path, indices: Mapping[str, SplitIndex], names: Mapping[int, str], kind: str, *, copy: bool, flag: str
) -> Written:
    """Write splits in a format into a new folder, whole or not at all.

    Args:
        folder: new or empty.
        indices: split to its images.
        names: class number to name.
        kind: "yolo", "coco" or "voc".
        copy: copy the images; otherwise they are hard links, or copies where links cannot be.
        flag: what the user typed the folder after, for messages.

    Raises:
        DataError: a name that the format cannot hold.
        EnvironmentFault: a file cannot be written.
    """
    require_writable(indices, names, kind)
    places, left_out = {}, 0
    require_new(folder, flag)
    with whole_folder(folder) as root:
        for split, index in indices.items():
            images = _placed(root / _IMAGES[kind] / split, index, copy)
            if kind == "yolo":
                left_out += _write_yolo(root / "images" / split, images)
                places[split] = f"images/{split}"
            elif kind == "voc":
                _write_voc(root, split, images, names)
                places[split] = f"ImageSets/Main/{split}.txt"
            else:
                content = coco_content(images, names)
                write_text_atomic(root / "annotations" / f"{split}.json", json.dumps(content))
                places[split] = f"annotations/{split}.json"
        write_data_yaml(root / DATA_YAML, places, names, kind)
    images = sum(map(len, indices.values()))
    return Written(folder / DATA_YAML, images, sum(len(index.labels) for index in indices.values()), left_out)


def require_writable(indices: Mapping[str, SplitIndex], names: Mapping[int, str], kind: str) -> None:
    """Check that a format can hold all names. Raises DataError."""
    for number, name in names.items():
        if name != name.strip() or not name.isprintable() or list(names.values()).count(name) > 1:
            remedy = "give each class a name of its own, without spaces around it"
            raise DataError("a class name that cannot be written", f"class {number}", repr(name), remedy)
    for index in indices.values():
        names_below(index.paths)
        if kind != "yolo":
            require_text(index.paths)


def require_text(paths: Sequence[str]) -> None:
    """Check that lists and jsons can hold these paths. Raises DataError."""
    for path in paths:
        if not path.isprintable() or any("\udc80" <= letter <= "\udcff" for letter in path):
            remedy = "rename it: lists and json hold plain text only"
            raise DataError("a name that is not text", printable(path), remedy=remedy)


def write_data_yaml(file: Path, places: Mapping[str, str], names: Mapping[int, str], kind: str) -> None:
    """Write a data YAML whose splits lie beside it."""
    content = {**places, **({"format": kind} if kind != "yolo" else {}), "names": dict(names)}
    write_text_atomic(file, dump_yaml(content))


def _placed(folder: Path, index: SplitIndex, copy: bool) -> list[WrittenImage]:
    """Put the images into a folder, their own folders below what all have in common, and return what to write."""
    folder.mkdir(parents=True)
    written = []
    for number, name in enumerate(names_below(index.paths)):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _place(index.paths[number], target, copy)
        height, width = index.sizes_hw[number].tolist()
        written.append(WrittenImage(name, (height, width), index.labels_of(number), index.polygons_of(number)))
    return written


def names_below(paths: Sequence[str]) -> list[str]:
    """Return the names of images below the folder that they have in common.

    Raises:
        DataError: one comes twice, or two of them would have the same label file.
    """
    if not paths:
        return []
    top = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
    names = [os.path.relpath(path, top) for path in paths]
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(os.path.splitext(name)[0], name)  # noqa: PTH122
        if other is not name:
            what = "an image is listed twice" if other == name else "two images differ in their ending only"
            raise DataError(what, printable(top), printable(name), "leave one out: their label files would be the same")
    return names


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
        # Where they are looked for, whatever the folders of the images are called.
        file = Path(label_path_of(str(folder / image.name)))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return left_out


def _write_voc(root: Path, split: str, images: Sequence[WrittenImage], names: Mapping[int, str]) -> None:
    for image in images:
        file = Path(voc_annotation_of(str(root / _IMAGES["voc"] / split / image.name)))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(voc_text(image, names, os.path.basename(image.name)), "utf-8")  # noqa: PTH119
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{split}/{os.path.splitext(image.name)[0]}\n" for image in images)  # noqa: PTH122
    (lists / f"{split}.txt").write_text(text, "utf-8")
