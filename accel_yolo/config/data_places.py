"""Where the splits of a data set lie: the roots that a YAML may mean, and what exists under them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from accel_yolo.config.download import Download, how_to_get
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
    forms: tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[str]]],
    candidates: Sequence[Path],
    splits: Sequence[str],
    download: Download | None,
) -> tuple[Path, dict[str, tuple[Path, ...]]]:
    """Return the first root under which every needed path exists, and the paths of all splits under it.

    The splits are looked for as the YAML names them, then as they are published. A data set that is on no disk and
    can be fetched gets the paths that it will have.

    Args:
        located: the data YAML.
        forms: what it lists for each split, and what it lists for each split as it is published.
        candidates: the roots it may mean.
        splits: the splits whose paths are needed.
        download: how the data set can be fetched.

    Raises:
        DataError: a path exists under none of the roots, and the data set cannot be fetched.
    """
    entries, published = forms
    for form in forms:
        needed = [entry for split in dict.fromkeys(splits) for entry in form[split]]
        for root in candidates if all(form[split] for split in splits) else ():
            if all(_exists(_under(root, entry)) for entry in needed):
                return root, {split: tuple(_under(root, entry) for entry in form[split]) for split in entries}
    root = _root_to_fill(located, candidates)
    if download is not None and download.can_fill(root) and all(published[split] for split in splits):
        return root, {split: tuple(_tidy(root / entry) for entry in published[split]) for split in entries}
    # Blame an entry that is missing under the root that has most of what is needed.
    pairs = [(split, entry) for split in dict.fromkeys(splits) for entry in entries[split]]
    best = max(candidates, key=lambda root: sum(_exists(_under(root, entry)) for _, entry in pairs))
    split, entry = next(pair for pair in pairs if not _exists(_under(best, pair[1])))
    places = ", ".join(dict.fromkeys(str(_under(root, entry)) for root in candidates))
    remedy = f"looked at {places}; {how_to_get(located, download, root)}"
    raise DataError("missing images", located.where(split), entry, remedy)


def _root_to_fill(located: Located, candidates: Sequence[Path]) -> Path:
    """Return the folder that a data set is fetched into: the one that holds a part of it, else among the data sets."""
    if not str(located.data.get("path") or "").strip():
        return datasets_dir() / Path(located.file).stem
    return next((root for root in candidates if is_dir(root)), candidates[-1])


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
