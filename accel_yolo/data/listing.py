"""From the entries of a data set (folders, list files) to a sorted list of image paths."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from accel_yolo.data.problems import BadFile, Problem
from accel_yolo.errors import DataError, printable
from accel_yolo.files import check_size, read_within

_IMAGE_SETS, _VOC_IMAGES = "ImageSets", "JPEGImages"
MAX_LIST_BYTES = 1 << 30
"""A list of ten million images has half of it."""
IMAGE_ENDINGS = frozenset(("bmp", "dng", "jpeg", "jpg", "mpo", "pfm", "png", "tif", "tiff", "webp"))


def list_images(entries: Iterable[Path], *, voc: bool = False) -> tuple[list[str], list[Problem]]:
    """Return the absolute paths of all images, sorted as text, and what could not be searched.

    Bytes of names that are not UTF-8 are kept as Python keeps them (surrogate escapes); open such a path as it is.

    Args:
        entries: folders (searched to the bottom; links are followed, loops cut), text files with one image a line, or
            single images.
        voc: text files below a folder ImageSets name images of the folder JPEGImages beside it, without an ending.

    Raises:
        DataError: an entry does not exist, cannot be read or is neither folder, text file nor image.
    """
    found: list[str] = []
    problems: list[Problem] = []
    for entry in entries:
        path = os.path.abspath(entry)  # noqa: PTH100 - keeps links: the label path is derived from the path as given
        if os.path.isdir(path):  # noqa: PTH112
            found.extend(_walk(path, problems))
        elif not os.path.isfile(path):  # noqa: PTH113
            raise DataError("no such folder or list of images", printable(path), remedy="check 'path' and the splits")
        elif is_image_name(path):
            found.append(path)
        elif path.endswith(".txt"):
            ids = voc and f"{os.sep}{_IMAGE_SETS}{os.sep}" in path
            found.extend(_listed_ids(path) if ids else _listed(path))
        else:
            raise DataError("neither a folder, a .txt list nor an image", printable(path))
    return sorted(found), problems


def is_image_name(name: str) -> bool:
    """Return whether the ending after the last dot, in any case, is that of a supported image."""
    return "." in name and name.rpartition(".")[2].lower() in IMAGE_ENDINGS


def regular_stat(path: str) -> os.stat_result | None:
    """Return the stat of a regular file (links followed); None for anything else, so that no pipe is ever opened."""
    try:
        found = os.stat(path)  # noqa: PTH116 - one system call for each of 10^5 files
    except (OSError, ValueError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def read_regular(path: str, rule: str, limit: int) -> bytes | None:
    """Return the content of a regular file (links followed); None where there is none.

    Args:
        path: any path.
        rule: what the problem says of a file that is there and cannot be read.
        limit: bytes that it may have.

    Raises:
        BadFile: it cannot be read, or is too large.
    """
    # Not opened before it is known to be regular: opening a pipe waits for a writer, and some devices act on it.
    found = regular_stat(path)
    if found is None:
        return None
    try:
        check_size(found.st_size, limit, path)
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a Path costs as much as the reading
            return file.readall()
    except OSError as error:
        raise BadFile(Problem(path, 0, error.strerror or "", rule)) from None


def _walk(top: str, problems: list[Problem]) -> Iterator[str]:
    """Yield the images below `top`; each real folder once, whatever links lead to it."""
    seen: set[tuple[int, int]] = set()
    pending = [top]
    while pending:
        folder = pending.pop()
        try:
            identity = os.stat(folder)  # noqa: PTH116
            if (identity.st_dev, identity.st_ino) in seen:
                continue
            seen.add((identity.st_dev, identity.st_ino))
            with os.scandir(folder) as scan:
                children = list(scan)
        except OSError as error:
            problems.append(Problem(folder, 0, error.strerror or "", "folder cannot be searched", drops_image=False))
            continue
        folders = []
        for child in children:
            if _is_folder(child):
                folders.append(child.path)
            elif is_image_name(child.name):
                yield child.path
        pending.extend(sorted(folders))


def _is_folder(child: os.DirEntry[str]) -> bool:
    try:
        return child.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _listed(list_file: str) -> Iterator[str]:
    """Yield the images of a list: absolute, relative to the list file, or else relative to the working folder."""
    folder = os.path.dirname(list_file)  # noqa: PTH120
    content = _content(list_file).removeprefix(b"\xef\xbb\xbf")
    for line in content.splitlines():
        name = os.fsdecode(line.strip())
        if not name:
            continue
        beside = os.path.normpath(os.path.join(folder, name))  # noqa: PTH118 - an absolute name stays as it is
        if name.startswith(("./", os.sep)) or regular_stat(beside) is not None:
            yield beside
            continue
        from_here = os.path.abspath(name)  # noqa: PTH100
        yield from_here if regular_stat(from_here) is not None else beside


def _content(list_file: str) -> bytes:
    try:
        return read_within(list_file, MAX_LIST_BYTES)
    except OSError as error:
        raise DataError("the list of images cannot be read", printable(list_file), error.strerror) from None


def _listed_ids(list_file: str) -> Iterator[str]:
    """Yield the images of a list of Pascal VOC: each line names an image below JPEGImages, or its first word does."""
    top = list_file.rpartition(f"{os.sep}{_IMAGE_SETS}{os.sep}")[0]
    images = os.path.join(top, _VOC_IMAGES)  # noqa: PTH118
    endings: dict[str, dict[str, str]] = {}
    for line in _content(list_file).splitlines():
        whole = os.fsdecode(line.strip())
        # "000012  1" in the lists of one class.
        for name in dict.fromkeys((whole, *whole.split()[:1])):
            folder, stem = os.path.split(os.path.join(images, name))  # noqa: PTH118
            if folder not in endings:
                endings[folder] = _names_by_stem(folder)
            if stem in endings[folder]:
                break
        if whole:  # one that is not there is named in the findings
            yield os.path.join(folder, endings[folder].get(stem, f"{stem}.jpg"))  # noqa: PTH118


def _names_by_stem(folder: str) -> dict[str, str]:
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - 10^5 names
    except OSError:
        return {}
    return {os.path.splitext(name)[0]: name for name in names if is_image_name(name)}  # noqa: PTH122
