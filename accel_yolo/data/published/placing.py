"""Puts the content of an archive where it belongs in a data set that is being completed."""

from __future__ import annotations

import filecmp
import os
import shutil
import zipfile
from pathlib import Path

from accel_yolo.data.room import amount, free_disk_bytes
from accel_yolo.errors import DataError, EnvironmentFault, printable
from accel_yolo.fetch import unpack

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
LITTER = "__MACOSX"
"""A folder that macOS adds to the zips it makes."""


def is_archive(name: str) -> bool:
    """Return whether a file of this name is unpacked; any other is taken as it is."""
    return name.lower().endswith(ENDINGS)


def place(archive: Path, folder: Path, workplace: Path, own_names: tuple[str, ...] = ()) -> None:
    """Put what a fetched file holds into `folder`; done twice, it changes nothing.

    An archive whose only content is a folder that bears the archive's name (or one of `own_names`) is unpacked
    without that folder: publishers do either.

    Args:
        archive: a zip or tar, or any other file.
        folder: where it belongs; created.
        workplace: a folder of ours on the same file system, emptied.
        own_names: names of the data set.

    Raises:
        DataError: a bad archive, or one that brings another version of a file that is there already.
        EnvironmentFault: no room, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not is_archive(archive.name):
            shutil.copyfile(archive, workplace.with_name(f"{workplace.name}.file"))
            workplace.with_name(f"{workplace.name}.file").replace(folder / archive.name)
            return
        _require_room(archive, folder)
        shutil.rmtree(workplace, ignore_errors=True)
        unpack(archive, workplace)
        _move(_without_own_folder(workplace, (_stem(archive.name), *own_names)), folder, archive.name)
        shutil.rmtree(workplace, ignore_errors=True)
    except OSError as error:
        what = error.strerror or error
        raise EnvironmentFault("cannot write", printable(str(folder)), what, "check space and rights") from error


def _stem(name: str) -> str:
    return next(name[: -len(ending)] for ending in ENDINGS if name.lower().endswith(ending))


def _without_own_folder(unpacked: Path, names: tuple[str, ...]) -> Path:
    shutil.rmtree(unpacked / LITTER, ignore_errors=True)
    inside = list(unpacked.iterdir())
    if len(inside) == 1 and inside[0].is_dir() and inside[0].name.lower() in [name.lower() for name in names]:
        return inside[0]
    return unpacked


def _require_room(archive: Path, folder: Path) -> None:
    need, free = _unpacked_bytes(archive), free_disk_bytes(folder)
    if 0 <= free < need:
        remedy = f"{amount(free)} are free: make room"
        raise EnvironmentFault("no room to unpack", printable(str(archive)), f"needs {amount(need)}", remedy)


def _unpacked_bytes(archive: Path) -> int:
    """Return about how much an archive holds: exact for zip; images, which are most of it, barely shrink in a tar."""
    if zipfile.is_zipfile(archive):
        try:
            with zipfile.ZipFile(archive) as container:
                return sum(info.file_size for info in container.infolist())
        except (zipfile.BadZipFile, OSError, ValueError):
            return 0  # unpacking says what is wrong with it
    return archive.stat().st_size


def _move(source: Path, target: Path, archive: str) -> None:
    """Move the content of a folder into another; a file that is there already must be the same one."""
    for child in sorted(source.iterdir()):
        place = target / child.name
        if not os.path.lexists(place):
            child.rename(place)
        elif child.is_dir() and place.is_dir():
            _move(child, place, archive)
        elif child.is_dir() or place.is_dir() or not filecmp.cmp(child, place, shallow=False):
            raise DataError("two archives bring different files of one name", archive, printable(str(place)))
