"""The data set description: YOLOv5's data YAML in all the forms users have, or a folder, checked before it is read."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accel_yolo import console
from accel_yolo.config import download as getting
from accel_yolo.config.data_folder import find_data, is_described, read_data, told
from accel_yolo.config.data_format import coco_file_of, coco_names, format_of, image_folders
from accel_yolo.config.data_places import datasets_dir, located_splits, root_candidates
from accel_yolo.config.download import Download
from accel_yolo.config.shipped import is_file
from accel_yolo.config.yaml_io import Located
from accel_yolo.errors import DataError

SPLITS = ("train", "val", "test")
KNOWN_KEYS = ("path", *SPLITS, "names", "nc", "format", "images", "hyp", "generator", *getting.KEYS)
# Ratio of difflib from which an unknown key counts as a misspelt one ("trian", "nams", "valid").
_MISSPELT = 0.75


@dataclass(frozen=True)
class DataSpec:
    """What a data YAML says: where the images of each split are and what the classes are called.

    Attributes:
        file: the YAML, or the folder or COCO json that stands for one.
        root: folder that the splits are relative to.
        train, val, test: folders of images, text files that list them, or COCO jsons; () for a split the YAML does not
            have.
        names: class number (0, 1, ...) to class name.
        download: how the data set is completed when its files are missing, or None. With one, the paths of the splits
            need not exist yet: building the index fetches what they name.
        hyp: the hyper-parameter file that the data set suggests, or None.
        is_coco: whether the validation split is COCO val2017 (image ids and category ids then follow COCO's).
        generator: name of the program that makes the data set ("demo"), or None; its files need not exist yet.
        format: how objects are labelled: "yolo", "coco" or "voc".
        images: folder of the images of a split of COCO jsons; {} leaves it to be found.
        held_out: share of the images of `train` that are for validation instead; `val` is then the same places. 0 for a
            data set that has a validation split.
    """

    file: Path
    root: Path
    train: tuple[Path, ...]
    val: tuple[Path, ...]
    test: tuple[Path, ...]
    names: dict[int, str]
    download: Download | None = None
    hyp: str | None = None
    is_coco: bool = False
    generator: str | None = None
    format: str = "yolo"
    images: dict[str, Path] = field(default_factory=dict)
    held_out: float = 0.0

    @property
    def nc(self) -> int:
        """Number of classes."""
        return len(self.names)

    def split(self, name: str) -> tuple[Path, ...]:
        """Return the folders and lists of a split: train, val or test."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


def load_data_spec(
    name_or_path: str | Path, splits: tuple[str, ...] | None = ("train", "val"), *, complete: bool = True
) -> DataSpec:
    """Return the description of a data set; lists are not expanded, images not read.

    Args:
        name_or_path: a data YAML, the name of a shipped one ("coco128", "data/coco128.yaml"), a folder with a data set
            in a usual layout, or a COCO json.
        splits: the splits that will be used; their folders and lists must exist. None stands for train and val where
            the YAML has them.
        complete: the YAML must have train and val, whichever will be used.

    Raises:
        DataError: no such YAML; a key, value or path that cannot be, with the line; a split that is missing.
    """
    _, path = find_data(str(name_or_path), "--data")
    located = read_data(path)
    if is_described(path):
        console.note(told(located))
    content, held_out = _checked_keys(located), _held_out(located)
    entries = {split: _entries(located, split) for split in SPLITS}
    splits, needed = _needed(entries, splits, complete)
    for split in needed:
        if not entries[split]:
            remedy = f"add `{split}:` with a folder of images, a list file or a COCO json"
            remedy += ", or `val: 0.2` to keep a fifth of the training images for it" if split == "val" else ""
            raise DataError(f"no {split} split", located.file, remedy=remedy)
    hyp, generator = (_optional_text(located, key) for key in ("hyp", "generator"))
    download = getting.read_download(located)
    candidates = root_candidates(_optional_text(located, "path") or "", path)
    if generator:
        root = datasets_dir() / (content.get("path") or path.stem)
        found = {split: tuple(root / entry for entry in entries[split]) for split in SPLITS}
    else:
        part = getting.published_splits(located)
        published = entries if part is None else {split: _entries(part, split) for split in SPLITS}
        root, found = located_splits(located, (entries, published), candidates, splits, download)
    kind = "yolo" if generator else format_of(located, {split: found[split] for split in splits})
    if kind == "coco":
        found |= {split: tuple(map(coco_file_of, found[split])) for split in splits}
    jsons = [file for split in SPLITS for file in found[split] if is_file(file)] if kind == "coco" else []
    names = coco_names(jsons[0]) if jsons and content.get("names") is None else _class_names(located)
    return DataSpec(
        file=path,
        root=root,
        **found,
        names=names,
        download=download,
        hyp=_hyp_beside(hyp, path),
        is_coco=len(names) == 80 and not held_out and any("val2017" in Path(entry).stem for entry in entries["val"]),
        generator=generator,
        format=kind,
        images=image_folders(located, root, SPLITS) if kind == "coco" else {},
        held_out=held_out,
    )


def _needed(
    entries: dict[str, tuple[str, ...]], splits: tuple[str, ...] | None, complete: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the splits that will be used, and those that the YAML must have."""
    if splits is not None:
        return splits, tuple(dict.fromkeys((*(("train", "val") if complete else ()), *splits)))
    there = tuple(split for split in ("train", "val") if entries[split])
    return there, there or ("train",)


def suggested_hyp(path: Path) -> str | None:
    """Return the hyper-parameter file that a data YAML names under `hyp:`, or None. Raises DataError."""
    located = read_data(path)
    _mapping(located)
    return _hyp_beside(_optional_text(located, "hyp"), path)


def _mapping(located: Located) -> dict[Any, Any]:
    if located.data is None:
        raise DataError("empty data YAML", located.file, remedy="it needs train, val and names")
    if not isinstance(located.data, dict):
        raise DataError("not a data YAML", located.file, remedy="it needs the keys train, val and names")
    return located.data


def _checked_keys(located: Located) -> dict[Any, Any]:
    """Return the content; a misspelt key is an error, other extra keys are one warning."""
    content = _mapping(located)
    missing = [key for key in KNOWN_KEYS if key not in content]
    extra = [key for key in content if key not in KNOWN_KEYS]
    for key in extra:
        meant = difflib.get_close_matches(str(key).lower(), missing, n=1, cutoff=_MISSPELT)
        if meant:
            raise DataError("misspelt key", located.where(key), None, f"did you mean '{meant[0]}'?")
    if extra:
        console.warn(f"keys without a meaning here are ignored in {located.file}: {', '.join(map(str, extra))}")
    return content


def _class_names(located: Located) -> dict[int, str]:
    """Return class number to name from a list or a map, checked against `nc`."""
    content = located.data
    names = content.get("names")
    if not isinstance(names, (list, dict)) or not names:
        value = None if names is None else repr(names)
        remedy = "give the class names, as a list or as `0: name` lines"
        raise DataError("no class names", located.where("names"), value, remedy)
    keys = range(len(names)) if isinstance(names, list) else list(names)
    for key in keys:
        if isinstance(key, bool) or not isinstance(key, int):
            raise DataError(
                "class number is not an integer", located.where("names", key), repr(key), "use 0, 1, 2, ..."
            )
    for expected, key in enumerate(sorted(keys)):
        if key != expected:
            remedy = f"classes are numbered 0 to {len(names) - 1} without gaps: {expected} is missing"
            raise DataError("gap in the class numbers", located.where("names", key), key, remedy)
    found = {key: _class_name(located, key) for key in sorted(keys)}
    nc = content.get("nc")
    if nc is not None and (isinstance(nc, bool) or nc != len(found)):
        remedy = f"there are {len(found)} names: correct nc or names"
        raise DataError("nc does not match the names", located.where("nc"), repr(nc), remedy)
    return found


def _class_name(located: Located, key: int) -> str:
    """Return the name as it is written: 007 and yes are names like any other."""
    text = located.texts.get(("names", key), "")
    if not text.strip():
        raise DataError("class without a name", located.where("names", key), remedy="give it a name")
    return text


def _entries(located: Located, split: str) -> tuple[str, ...]:
    """Return what the YAML lists for a split, as written; for a share of the training images, those."""
    value = located.data.get("train" if split == "val" and _held_out(located) else split)
    if value is None or value == "":
        return ()
    items = value if isinstance(value, list) else [value]
    for place, item in enumerate(items):
        if not isinstance(item, str) or not item:
            where = located.where(split, place) if isinstance(value, list) else located.where(split)
            raise DataError("not a path", where, repr(item), "give a folder of images or a list file")
    return tuple(items)


def _held_out(located: Located) -> float:
    """Return the share of the training images that `val:` asks for, 0 where it names places. Raises DataError."""
    value = located.data.get("val")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0.0
    if not 0 < value < 1:
        raise DataError(
            "not a share", located.where("val"), value, "give a number between 0 and 1, or a place of images"
        )
    return float(value)


def _optional_text(located: Located, key: str) -> str | None:
    value = _mapping(located).get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise DataError("not text", located.where(key), repr(value), "give text")
    return value.strip() or None


def _hyp_beside(hyp: str | None, file: Path) -> str | None:
    """Return the suggested file by its path when it lies beside the YAML, else as written."""
    if hyp and is_file(file.parent / hyp):
        return str(file.parent / hyp)
    return hyp
