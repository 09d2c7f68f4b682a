"""What a data YAML says about getting its data set: archives, preparation, splits as published. Never code."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from accel_yolo.config.shipped import is_dir
from accel_yolo.config.yaml_io import Located
from accel_yolo.errors import DataError, did_you_mean

KEYS = ("download", "prepare", "published", "by_hand")
PREPARATIONS = ("argoverse", "globalwheat", "objects365", "sku110k", "visdrone", "xview")
"""Data sets whose published labels our own code turns into YOLO's."""

_ENTRY_KEYS = ("url", "sha256", "size", "into")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_RANGE = re.compile(r"\{([0-9]{1,4})\.\.([0-9]{1,4})\}")


@dataclass(frozen=True)
class Archive:
    """One file to fetch.

    Attributes:
        url: where it is.
        sha256: its digest, if the YAML knows it.
        size: its bytes, if the YAML knows them.
        into: folder below the root of the data set that it is unpacked into ("" for the root itself).
    """

    url: str
    sha256: str | None = None
    size: int | None = None
    into: str = ""

    @property
    def name(self) -> str:
        """Return the file name in the URL."""
        return urllib.parse.urlsplit(self.url).path.rpartition("/")[2]


@dataclass(frozen=True)
class Download:
    """How a data set is completed when it is not on disk.

    Attributes:
        file: name of the YAML for messages.
        archives: what is fetched, in this order; () where only `by_hand` helps.
        prepare: name of the preparation, one of `PREPARATIONS`, or None.
        by_hand: how a person gets what no URL gives; "" when there is nothing to say.
    """

    file: str
    archives: tuple[Archive, ...] = ()
    prepare: str | None = None
    by_hand: str = ""

    def can_fill(self, root: Path) -> bool:
        """Return whether missing files of a data set in `root` can be fetched, or made from what lies there."""
        return bool(self.archives) or (self.prepare is not None and is_dir(root))


def read_download(located: Located) -> Download | None:
    """Return what a data YAML says about getting its data set, or None when it says nothing (a script says nothing).

    Raises:
        DataError: with the line, for an entry that is not a URL, a key or value that cannot be.
    """
    prepare, by_hand = _text(located, "prepare"), _text(located, "by_hand")
    if prepare is not None and prepare not in PREPARATIONS:
        remedy = did_you_mean(prepare, PREPARATIONS) or f"one of {', '.join(PREPARATIONS)}"
        raise DataError("no such preparation", located.where("prepare"), prepare, remedy)
    archives = _archives(located)
    if not archives and prepare is None and by_hand is None:
        return None
    return Download(located.file, archives, prepare, by_hand or "")


def published_splits(located: Located) -> Located | None:
    """Return the part of a data YAML that names the splits as they are published, or None.

    Raises:
        DataError: it is not a mapping.
    """
    part = located.data.get("published")
    if part is None:
        return None
    if not isinstance(part, dict):
        raise DataError("not a mapping", located.where("published"), repr(part), "give train, val and test below it")
    lines = {path[1:]: line for path, line in located.lines.items() if path[:1] == ("published",)}
    return replace(located, data=part, lines=lines)


def how_to_get(located: Located, download: Download | None, folder: object) -> str:
    """Return what to do about a data set that is not on disk and cannot be fetched."""
    if download is not None and download.by_hand:
        return download.by_hand
    if download is not None and download.archives:
        first, *more = download.archives
        others = f" and {len(more)} more" if more else ""
        return f"get {first.url}{others} and unpack it into {folder}"
    if located.data.get("download"):
        return f"the script under `download:` in {located.file} is never run: follow it by hand"
    return "correct the path or put the images there"


def is_url(text: str) -> bool:
    """Return whether `text` is a web address and nothing else; letters beyond ASCII are percent-encoded in one."""
    if not text.startswith(("http://", "https://")) or not text.isascii() or any(map(str.isspace, text)):
        return False
    try:
        parts = urllib.parse.urlsplit(text)
        host = parts.hostname or ""
        return parts.port != 0 and all(0 < len(label) < 64 for label in host.removesuffix(".").split("."))
    except ValueError:
        return False


def _archives(located: Located) -> tuple[Archive, ...]:
    value = located.data.get("download")
    if value is None or (isinstance(value, str) and not is_url(value.strip())):
        return ()  # a script, which is never run
    found: list[Archive] = []
    for place, item in enumerate(value if isinstance(value, list) else [value]):
        path = ("download", place) if isinstance(value, list) else ("download",)
        found.extend(_expanded(_archive(located, path, item)))
    if not found:
        raise DataError("nothing to download", located.where("download"), remedy="give a URL, or remove the key")
    for archive in found:
        if archive.name.strip(".") == "":
            raise DataError("the URL names no file", located.where("download"), archive.url)
    return tuple(found)


def _archive(located: Located, path: tuple[Any, ...], item: Any) -> Archive:
    if isinstance(item, str):
        item = {"url": item}
    elif isinstance(item, Mapping):
        for key in item:
            if key not in _ENTRY_KEYS:
                remedy = did_you_mean(str(key), _ENTRY_KEYS) or f"known are {', '.join(_ENTRY_KEYS)}"
                raise DataError("unknown key", located.where(*path, key), None, remedy)
    else:
        raise DataError("not a URL", located.where(*path), repr(item), "give a URL or a mapping with url")
    url = item.get("url")
    if not isinstance(url, str) or not is_url(url.strip()):
        raise DataError("not a URL", located.where(*path), repr(url), "only archives are fetched, no script is run")
    # As written: a digest of digits alone is a number to YAML.
    sha256 = located.texts.get((*path, "sha256")) if "sha256" in item else None
    if "sha256" in item and not _SHA256.fullmatch(sha256 or ""):
        raise DataError("not a SHA-256", located.where(*path, "sha256"), sha256, "give 64 hexadecimal digits")
    size, into = item.get("size"), item.get("into", "")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size <= 0):
        raise DataError("not a size", located.where(*path, "size"), repr(size), "give the number of bytes")
    if (sha256 or size) and _RANGE.search(url):
        raise DataError("one digest or size for several files", located.where(*path), url, "list them one by one")
    ranges = {(each[1], each[2]) for each in _RANGE.finditer(url)}
    if len(ranges) > 1 or any(int(first) > int(last) for first, last in ranges):
        raise DataError("not one rising range", located.where(*path), url, "write one {0..9}, or list the URLs")
    if not isinstance(into, str) or PurePosixPath(into).is_absolute() or ".." in into.split("/") or "\\" in into:
        remedy = "give a folder below the root of the data set"
        raise DataError("not inside the data set", located.where(*path, "into"), repr(into), remedy)
    return Archive(url.strip(), sha256.lower() if sha256 else None, size, into.strip("/"))


def _expanded(archive: Archive) -> list[Archive]:
    """Return the archives that a URL with a range stands for: patch{0..2}.zip is three; `into` may repeat the range."""
    found = _RANGE.search(archive.url)
    if found is None:
        return [archive]
    first, last = found[1], found[2]
    width = max(len(first), len(last)) if first.startswith("0") and len(first) > 1 else 0
    numbers = [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
    return [
        replace(archive, url=archive.url.replace(found[0], n), into=archive.into.replace(found[0], n)) for n in numbers
    ]


def _text(located: Located, key: str) -> str | None:
    value = located.data.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise DataError("not text", located.where(key), repr(value), "give text")
    return " ".join(value.split()) or None
