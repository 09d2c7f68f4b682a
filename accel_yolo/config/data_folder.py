"""A folder or a COCO json in place of a data YAML: what it holds, as the data YAML that one would write for it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from accel_yolo.config.data_format import endings_of, looks_like_coco, voc_names
from accel_yolo.config.shipped import find_config, is_dir, is_file, label_of
from accel_yolo.config.yaml_io import Located, load_yaml
from accel_yolo.errors import DataError, printable

HELD_OUT = 0.2
"""Share of the images that is kept for validation where a data set has no split for it; as `data split` has it."""

_SPLIT_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_YAML_ENDINGS = (".yaml", ".yml")
_YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_CLASS_FILES = ("classes.txt", "obj.names", "_darknet.labels", "names.txt")
_PICTURES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
_TWINS = (("images", "labels"), ("images", "annotations"), ("JPEGImages", "Annotations"))

Content = dict[str, Any]


def find_data(text: str, flag: str) -> tuple[str, Path]:
    """Return the name and the place of the data set that a user means: a data YAML, a COCO json or a folder.

    A folder that holds a data YAML stands for that. A bare name of a shipped data set is the shipped one, whatever
    folders there are.

    Raises:
        DataError: there is none.
    """
    folder = Path(text).expanduser()
    if not is_dir(folder):
        return find_config("data", text, flag)
    if "/" not in text and os.sep not in text:
        try:
            return find_config("data", text, flag)
        except DataError:
            pass
    inside = _data_yaml_in(folder)
    return (str(inside), inside) if inside else (text, folder)


def is_described(place: Path) -> bool:
    """Return whether a place is no data YAML, but a folder or a COCO json that stands for one."""
    return is_dir(place) or place.suffix.lower() == ".json"


def read_data(place: Path) -> Located:
    """Return a data YAML, or what one for this folder or COCO json would say. Raises DataError."""
    if is_dir(place):
        content = _content_of(place)
    elif is_described(place):
        content = {"path": str(place.absolute().parent), "train": [place.name], "format": "coco"}
    else:
        return load_yaml(place, DataError, label_of(place))
    if "train" in content:
        content.setdefault("val", HELD_OUT)
    names = content.get("names", ())
    return Located(printable(str(place)), content, {}, {("names", number): name for number, name in enumerate(names)})


def told(located: Located) -> str:
    """Return one line for the user: as what a folder or json is read."""
    content = located.data
    parts = []
    for split in ("train", "val", "test"):
        value = content.get(split)
        if isinstance(value, float):
            parts.append(f"{split} = {value:.0%} of these images, chosen by their content")
        elif value:
            parts.append(f"{split} = {', '.join(map(printable, value))}")
    return f"{located.file} is read as {content['format'].upper()}: {'; '.join(parts)}"


def _data_yaml_in(folder: Path) -> Path | None:
    """Return the data YAML in a folder: by its name, or because it is the only YAML."""
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix in _YAML_ENDINGS and is_file(path))
    except OSError as error:
        raise DataError("the folder cannot be searched", printable(str(folder)), error.strerror) from None
    named = [path for name in _YAML_NAMES for path in found if path.name == name]
    return next(iter([*named, *(found if len(found) == 1 else [])]), None)


def _content_of(folder: Path) -> Content:
    try:
        content = _as_coco(folder) or _as_labels_beside(folder)
    except OSError as error:
        raise DataError("the folder cannot be searched", printable(str(folder)), error.strerror) from None
    if content is None:
        held = ", ".join(sorted(printable(path.name) for path in folder.iterdir())[:8]) or "nothing"
        remedy = (
            "known are a data YAML, COCO jsons beside images, and images with YOLO text files or Pascal VOC XML files, "
            "in the folders of labelling tools; other places can be named in a data YAML"
        )
        raise DataError("no data set is recognised", printable(str(folder)), f"it holds {held}", remedy)
    return {"path": str(folder.absolute()), **content}


def _as_coco(folder: Path) -> Content | None:
    """Return the jsons of each split: in the folder, in annotations/, or in a folder for each split."""
    found: dict[str, list[Path]] = {}
    for place in (folder, folder / "annotations"):
        for file in _jsons(place):
            found.setdefault(_split_named(file.stem), []).append(file)
    for split, inner in _split_folders(folder).items():
        found.setdefault(split, []).extend(_jsons(inner))
    if not any(found.values()):
        return None
    if not found.get("train") and "" in found:
        found["train"] = found[""]
    splits = {split: found[split] for split in _SPLIT_WORDS if found.get(split)}
    return {"format": "coco", **_relative(folder, splits)}


def _jsons(folder: Path) -> list[Path]:
    """Return the COCO jsons in a folder; COCO's own archive has those of other tasks beside them."""
    if not is_dir(folder):
        return []
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".json")
    instances = [path for path in found if path.name.startswith("instances_")]
    return [path for path in instances or found if looks_like_coco(path)]


def _as_labels_beside(folder: Path) -> Content | None:
    """Return the folders of images of each split whose labels are text or XML files, in one of the usual layouts."""
    lists = {split: folder / "ImageSets" / "Main" / f"{split}.txt" for split in _SPLIT_WORDS}
    if is_file(lists["train"]):
        splits = {split: [file] for split, file in lists.items() if is_file(file)}
        return {"format": "voc", "names": voc_names([folder / "Annotations"]), **_relative(folder, splits)}
    for splits in _image_folders(folder):
        labels = [each for images in splits.values() for each in _label_folders(images)]
        endings = {ending for place in labels for ending in endings_of(place)}
        if ".xml" in endings:
            names = voc_names(labels)
            kind = "voc"
        elif _has_rows(labels):
            names = _listed_names(folder, splits)
            kind = "yolo"
        else:
            continue
        return {"format": kind, "names": names, **_relative(folder, {key: [value] for key, value in splits.items()})}
    return None


def _image_folders(folder: Path) -> Iterator[dict[str, Path]]:
    """Yield the folders of images that a data set may mean, by split."""
    for top in (folder / "images", folder / "JPEGImages", folder):
        by_split = {split: _inner_images(each) for split, each in _split_folders(top).items()}
        by_split = {split: each for split, each in by_split.items() if _has_pictures(each)}
        if "train" in by_split:
            yield by_split
    for top in (folder / "images", folder / "JPEGImages", folder / "obj_train_data", folder):
        if _has_pictures(top):
            yield {"train": top}


def _inner_images(folder: Path) -> Path:
    return folder / "images" if is_dir(folder / "images") else folder


def _label_folders(images: Path) -> list[Path]:
    """Return where labels of a folder of images may lie: in the twin of a folder of its path, or beside them."""
    found = []
    for of, to in _TWINS:
        parts = list(images.parts)
        if of in parts:
            at = len(parts) - 1 - parts[::-1].index(of)
            found.append(Path(*parts[:at], to, *parts[at + 1 :]))
    return [place for place in (*found, images) if is_dir(place)]


def _has_pictures(folder: Path) -> bool:
    return is_dir(folder) and bool(_PICTURES & endings_of(folder))


def _has_rows(folders: Sequence[Path]) -> bool:
    """Return whether one of the folders has text files other than lists of class names."""
    return any(
        path.suffix.lower() == ".txt" and path.name not in _CLASS_FILES
        for folder in folders
        for path in folder.iterdir()
    )


def _listed_names(folder: Path, splits: dict[str, Path]) -> list[str]:
    """Return the class names from the file that labelling tools write beside YOLO's labels."""
    places = [
        folder,
        *(each for images in splits.values() for each in (images, images.parent, *_label_folders(images))),
    ]
    for file in (place / name for place in places for name in _CLASS_FILES):
        if is_file(file):
            return _names_in(file)
    remedy = f"write {folder / _CLASS_FILES[0]} with a name a line, in the order of the class numbers"
    raise DataError("no class names", printable(str(folder)), "labels are numbers", remedy)


def _names_in(file: Path) -> list[str]:
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        place = f"{printable(str(file))}:{error.object[: error.start].count(10) + 1}"
        raise DataError("class names are not UTF-8 text", place, remedy="save it as UTF-8") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _split_folders(folder: Path) -> dict[str, Path]:
    """Return the folders called like a split."""
    if not is_dir(folder):
        return {}
    inner = sorted(path for path in folder.iterdir() if is_dir(path))
    named = {path: _split_named(path.name) for path in inner}
    return {split: path for path, split in reversed(named.items()) if split}


def _split_named(name: str) -> str:
    """Return the split that a name means: "instances_val2017" is val; "" for none."""
    words = re.split("[^a-z]+", name.lower())
    return next((split for split, known in _SPLIT_WORDS.items() if set(known) & set(words)), "")


def _relative(folder: Path, splits: dict[str, list[Path]]) -> dict[str, list[str]]:
    return {split: [str(place.relative_to(folder)) for place in places] for split, places in splits.items()}
