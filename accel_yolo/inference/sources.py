"""Which images a source names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from accel_yolo.data.listing import IMAGE_ENDINGS, is_image_name
from accel_yolo.errors import ConfigError, DataError

_VIDEO_SUFFIXES = frozenset(
    f".{ending}" for ending in ("asf", "avi", "gif", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ts", "webm", "wmv")
)
_USE = "use an image, a folder, a pattern such as 'photos/*.jpg', or a .txt list of images"


def find_images(source: str) -> list[Path]:
    """Return the images that `source` names.

    Args:
        source: an image file; a folder (its own images, sorted); a glob pattern (`**` descends, sorted); or a `.txt`
            file with one image path per line, in its order, where `./` is the folder of the list and other relative
            paths start from the working directory. Images named by a list are not looked for here.

    Raises:
        ConfigError: a kind of source that is not available yet (video, camera, screen, stream, URL).
        DataError: the source does not exist or names no image.
    """
    if not source:
        raise DataError("no source", value="''", remedy=_USE)
    path = Path(source)
    if path.is_dir():
        return _images_among(path.iterdir(), source)
    if path.is_file():
        return _images_of_file(path)
    _refuse_live(source)
    if re.search(r"[*?\[]", source):
        anchor = Path(path.anchor or ".")
        return _images_among(anchor.glob(str(path.relative_to(path.anchor))), source)
    raise DataError("source not found", value=source, remedy=_USE)


def distinct_stems(paths: Iterable[Path]) -> list[str]:
    """Return one file stem for each path, all different: files made from `a/x.jpg` and `b/x.png` must not meet.

    The first of several keeps its stem ("x"), the others are numbered ("x-2"). Case does not distinguish, because
    on some file systems it does not.
    """
    paths = list(paths)
    once = {stem for stem, n in Counter(path.stem.casefold() for path in paths).items() if n == 1}
    taken, stems = set(once), []
    for path in paths:
        stem, number = path.stem, 1
        while stem.casefold() in taken and path.stem.casefold() not in once:
            number += 1
            stem = f"{path.stem}-{number}"
        taken.add(stem.casefold())
        stems.append(stem)
    return stems


def _images_of_file(path: Path) -> list[Path]:
    suffix = path.suffix.lower()
    if is_image_name(path.name):
        return [path]
    if suffix == ".txt":
        return _images_of_list(path)
    if suffix in _VIDEO_SUFFIXES:
        raise ConfigError("video is not available yet as a source", value=path, remedy=_USE)
    if suffix == ".streams":
        raise ConfigError("a stream list is not available yet as a source", value=path, remedy=_USE)
    raise DataError("not an image file", value=path, remedy=f"known are {' '.join(sorted(IMAGE_ENDINGS))}")


def _images_of_list(path: Path) -> list[Path]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError("the list is not UTF-8 text", str(path), error.reason, "save it as UTF-8") from error
    named = [line.strip() for line in lines if line.strip()]
    if not named:
        raise DataError("the list names no image", value=path, remedy="write one image path per line")
    for line in named:
        _refuse_live(line)
    return [path.parent / line if line.startswith("./") else Path(line) for line in named]


def _images_among(entries: Iterable[Path], source: str) -> list[Path]:
    files = sorted((path for path in entries if path.is_file()), key=str)
    images = [path for path in files if is_image_name(path.name)]
    if images:
        return images
    if any(path.suffix.lower() in _VIDEO_SUFFIXES for path in files):
        raise ConfigError("video is not available yet as a source", value=source, remedy=_USE)
    raise DataError("no image found", value=source, remedy="for images in folders below, use 'folder/**/*.jpg'")


def _refuse_live(source: str) -> None:
    """Raise ConfigError where `source` means something that is not a file on this machine."""
    if re.match(r"[a-z][a-z0-9+.-]+://", source, flags=re.IGNORECASE):
        raise ConfigError("a URL is not available yet as a source", value=source, remedy="download the images first")
    if source.isdecimal():
        raise ConfigError("a camera is not available yet as a source", value=source, remedy=_USE)
    if re.fullmatch(r"screen( \d+)*", source):
        raise ConfigError("the screen is not available yet as a source", value=source, remedy=_USE)
