"""Which images, videos and streams a source names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from accel_yolo.data.listing import IMAGE_ENDINGS, is_image_name
from accel_yolo.errors import ConfigError, DataError
from accel_yolo.inference.sources.items import Item, distinct_stems, numbered
from accel_yolo.inference.sources.stdin import images_in, is_encoded, read_stdin
from accel_yolo.inference.sources.urls import (
    VIDEO_ENDINGS,
    is_url,
    kind_by_ending,
    kind_of_url,
    not_a_file,
    refuse_youtube,
)

__all__ = ["distinct_stems", "find_items"]

STDIN = "-"
_USE = "use an image, a video, a folder, a pattern such as 'photos/*.jpg', a .txt list, a URL or a camera number"
_NO_SCREEN = "record it to a video file and predict on that"


def find_items(source: str) -> list[Item]:
    """Return what `source` names, in order.

    Args:
        source: an image or video file; a folder (its own images, then its videos, each sorted); a glob pattern (`**`
            descends; images, then videos); a `.txt` file with one file or URL per line, in its order, where `./` is
            the folder of the list and other relative paths start from the working directory; the URL of an image or
            a video (fetched) or of a stream; the number of a camera; a `.streams` file with one camera or stream per
            line; `-` for a list, or one encoded image, on standard input. Files and the URLs of a list are not opened
            here; of a single URL without a known ending, the server is asked what it is.

    Raises:
        ConfigError: a kind of source that is not supported (the screen, YouTube).
        DataError: the source does not exist or names nothing.
        EnvironmentFault: the server of a single URL does not say what it is.
    """
    if not source:
        raise DataError("no source", value="''", remedy=_USE)
    if source == STDIN:
        return _items_of_stdin()
    path = Path(source)
    if path.is_dir():
        return numbered(_among(path.iterdir(), source))
    if path.is_file():
        return numbered(_of_file(path))
    live = _live(source)
    if live is not None:
        return numbered([live])
    if re.search(r"[*?\[]", source):
        anchor = Path(path.anchor or ".")
        return numbered(_among(anchor.glob(str(path.relative_to(path.anchor))), source))
    raise DataError("source not found", value=source, remedy=_USE)


def _items_of_stdin() -> list[Item]:
    content = read_stdin()
    if is_encoded(content):
        return numbered([Item("stdin", "image", content=image) for image in images_in(content)])
    lines = [os.fsdecode(line.strip()) for line in content.splitlines() if line.strip()]
    if not lines:
        raise DataError("standard input is empty", value=STDIN, remedy="write one path a line, or an image, into it")
    return numbered([_of_line(line, Path()) for line in lines])


def _of_file(path: Path) -> list[Item]:
    ending = path.suffix.lower()
    if ending == ".txt":
        return [_of_line(line, path.parent) for line in _lines_of(path)]
    if ending == ".streams":
        return [_stream_of_line(line, path) for line in _lines_of(path)]
    if is_image_name(path.name):
        return [Item(str(path), "image")]
    if _is_video_name(path.name):
        return [Item(str(path), "video")]
    endings = " ".join(sorted(IMAGE_ENDINGS | VIDEO_ENDINGS))
    raise DataError("neither an image nor a video", value=path, remedy=f"known endings are {endings}")


def _lines_of(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError("the list is not UTF-8 text", str(path), error.reason, "save it as UTF-8") from error
    named = [line.strip() for line in lines if line.strip()]
    if not named:
        raise DataError("the list is empty", value=path, remedy="write one path or address a line")
    return named


def _of_line(line: str, folder: Path) -> Item:
    """Return the item that a line of a list names: a file, or the address of one."""
    if is_url(line):
        kind = kind_by_ending(line) or "file"
    else:
        kind = "stream" if line.isdecimal() or _is_screen(line) else None
    if kind == "stream":
        raise not_a_file(line)
    word = str(folder / line) if line.startswith("./") else line
    return Item(word, kind or ("video" if _is_video_name(word) else "image"))


def _stream_of_line(line: str, path: Path) -> Item:
    if not (line.isdecimal() or is_url(line)):
        remedy = "write the number of a camera or an address a line; files belong into a .txt list"
        raise ConfigError("not a stream", str(path), line, remedy)
    refuse_youtube(line)
    return Item(line, "stream")


def _live(source: str) -> Item | None:
    """Return the item of a source that is no file on this machine; None where it may be a pattern or a misspelt path.

    Raises:
        ConfigError: it cannot be predicted on.
    """
    if is_url(source):
        return Item(source, kind_of_url(source))
    if source.isdecimal():
        return Item(source, "stream")
    if _is_screen(source):
        raise ConfigError("the screen is not supported as a source", value=source, remedy=_NO_SCREEN)
    return None


def _among(entries: Iterable[Path], source: str) -> list[Item]:
    files = sorted((path for path in entries if path.is_file()), key=str)
    images = [Item(str(path), "image") for path in files if is_image_name(path.name)]
    videos = [Item(str(path), "video") for path in files if _is_video_name(path.name)]
    if images or videos:
        return images + videos
    raise DataError("no image or video found", value=source, remedy="for those in folders below, use 'folder/**/*.jpg'")


def _is_video_name(name: str) -> bool:
    return "." in name and name.rpartition(".")[2].lower() in VIDEO_ENDINGS


def _is_screen(word: str) -> bool:
    return re.fullmatch(r"screen( \d+)*", word) is not None
