"""Where the splits of a data set lie: the roots that a YAML may mean, and what exists under them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from accel_yolo.config.shipped import configs_dir, is_dir, is_file
from accel_yolo.config.yaml_io import Located
from accel_yolo.errors import DataError

_DATASETS_VARIABLES = ("ACCEL_YOLO_DATASETS_DIR", "YOLOv5_DATASETS_DIR")


def datasets_dir() -> Path:
    """Return the folder of data sets: ACCEL_YOLO_DATASETS_DIR, else YOLOv5_DATASETS_DIR, else ./datasets."""
    for variable in _DATASETS_VARIABLES:
        if chosen := os.environ.get(variable):
            return Path(chosen).expanduser().absolute()
    return Path("datasets").absolute()


def root_candidates(written: str, file: Path) -> list[Path]:
    """Return the folders that `path:` may mean, in the order they are tried.

    An absolute path means itself. A relative one is taken from the YAML's folder, the working folder and the folder
    of data sets; YOLOv5's own files write ../datasets/<name> for the latter.
    """
    given = Path(written).expanduser()
    if given.is_absolute():
        return [given]
    bases = [Path.cwd()]
    if not file.is_relative_to(configs_dir()):
        bases.insert(0, file.absolute().parent)
    inner = given.relative_to("../datasets") if given.is_relative_to("../datasets") else given
    candidates = [base / given for base in bases] + [datasets_dir() / inner]
    return list(dict.fromkeys(_tidy(path) for path in candidates))


def located_splits(
    located: Located,
    entries: Mapping[str, Sequence[str]],
    candidates: Sequence[Path],
    splits: Sequence[str],
    how_to_get: str,
) -> tuple[Path, dict[str, tuple[Path, ...]]]:
    """Return the first root under which every needed path exists, and the paths of all splits under it.

    Args:
        located: the data YAML.
        entries: what it lists for each split.
        candidates: the roots it may mean.
        splits: the splits whose paths are needed.
        how_to_get: remedy for the error.

    Raises:
        DataError: a path exists under none of them.
    """
    needed = [(split, entry) for split in dict.fromkeys(splits) for entry in entries[split]]
    for root in candidates:
        if all(_exists(_under(root, entry)) for _, entry in needed):
            return root, {split: tuple(_under(root, entry) for entry in entries[split]) for split in entries}
    # Blame an entry that is missing under the root that has most of what is needed.
    best = max(candidates, key=lambda root: sum(_exists(_under(root, entry)) for _, entry in needed))
    split, entry = next(pair for pair in needed if not _exists(_under(best, pair[1])))
    places = ", ".join(dict.fromkeys(str(_under(root, entry)) for root in candidates))
    raise DataError("missing images", located.where(split), entry, f"looked at {places}; {how_to_get}")


def _under(root: Path, entry: str) -> Path:
    """Return the path of an entry; a leading ../ that leads nowhere is left out, as exported data sets need."""
    path = root / Path(entry).expanduser()
    if not _exists(path) and entry.startswith("../") and _exists(root / entry[3:]):
        path = root / entry[3:]
    return _tidy(path)


def _tidy(path: Path) -> Path:
    """Return `path` without `..`, unless a symbolic link on the way makes that another place."""
    plain = Path(os.path.normpath(path))
    return plain if not path.exists() or (plain.exists() and plain.samefile(path)) else path


def _exists(path: Path) -> bool:
    return is_file(path) or is_dir(path)
