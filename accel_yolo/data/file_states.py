"""Size and time of every image of a list and of its label file.

It is imported by processes that live for a quarter of a second, so it needs little of the standard library.
"""

from __future__ import annotations

import os
from array import array
from stat import S_IFMT, S_IFREG

from accel_yolo.data.label_paths import label_paths_of


def answer(question: bytes) -> bytes:
    """Return size (bytes) and modification time (ns) of files, two native int64 each: all images, then all label files.

    Links are followed; what is no regular file, or cannot be found, has -1 for both.

    Args:
        question: the kind of the label files ("" when images have none of their own), then absolute paths of images,
            joined by NUL.
    """
    kind, *images = os.fsdecode(question).split("\0")
    numbers: list[int] = []
    for path in (*images, *(label_paths_of(images, kind) if kind else ())):
        try:
            found = os.stat(path)  # noqa: PTH116 - one system call for each of 10^5 files
        except (OSError, ValueError):
            numbers += (-1, -1)
            continue
        numbers += (found.st_size, found.st_mtime_ns) if S_IFMT(found.st_mode) == S_IFREG else (-1, -1)
    return array("q", numbers).tobytes()
