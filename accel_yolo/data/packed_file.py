"""The file of packed images: a description, a table of all images, then their pixels. It is whole or not there.

Page 0 holds the fixed head (magic, format, digest of what follows) and a description in JSON; the table follows, a row
for each image; then come the pixels, RGB uint8 row by row, each image on a boundary of 64 bytes. Nothing in it is
executed, and no number in it is believed: where an image lies follows from the index of the split, and a file that says
otherwise is damaged.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import struct
import weakref
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import cv2
import numpy as np
import PIL

from accel_yolo import console, files
from accel_yolo.data.images import Load
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.letterbox import resized_hw

MAGIC = b"ayimages"
FORMAT = 1
"""Raise it when the file looks different, or when `images.read_resized` gives other pixels than before."""

_HEAD = struct.Struct("<8sI32s")
_ROW = np.dtype([("offset", "<u8"), ("height", "<u4"), ("width", "<u4"), ("checksum", "<u4"), ("reserved", "<u4")])
_PAGE, _BOUNDARY = 4096, 64
_NO_RESERVING = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)

Result = TypeVar("Result")


class Damaged(Exception):
    """The file is not the one that it should be; the text says why."""


@dataclass(frozen=True)
class Layout:
    """Where the images of a split lie in their file; all of it follows from the index and the image size.

    Attributes:
        description: what the file holds, plain data.
        shapes_hw: [n, 2] int32, (height, width) of the resized images, px.
        offsets: [n] int64, where each begins, bytes.
        file_bytes: size of the file.
    """

    description: dict[str, Any]
    shapes_hw: np.ndarray
    offsets: np.ndarray
    file_bytes: int

    @classmethod
    def plan(cls, index: SplitIndex, imgsz: int, *, augmenting: bool) -> Layout:
        """Return the layout for the images of `index` as `images.read_resized` gives them."""
        shapes = _resized(index.sizes_hw, imgsz)
        begin = _rounded_up(_PAGE + len(shapes) * _ROW.itemsize, _PAGE)
        room = _rounded_up(shapes.astype(np.int64).prod(1) * 3, _BOUNDARY)
        ends = begin + np.cumsum(room)
        # The two ways of resizing differ only where an image is made smaller.
        is_averaged = not augmenting and bool((index.sizes_hw.max(1, initial=0) > imgsz).any())
        pixels = hashlib.sha256(np.ascontiguousarray(index.content_keys).tobytes() + index.sizes_hw.tobytes())
        description = {
            "images": len(shapes),
            "imgsz": imgsz,
            "shrinking": "area" if is_averaged else "linear",
            "content": pixels.hexdigest(),
            # What decodes and resizes may change pixels from one version to the next.
            "opencv": cv2.__version__,
            "pillow": PIL.__version__,
        }
        file_bytes = int(ends[-1]) if len(ends) else begin
        return cls(description, shapes, ends - room, file_bytes)

    @property
    def key(self) -> str:
        """A digest of what the file holds: other data or settings have another one. Labels do not count."""
        return files.sha256_bytes(json.dumps([FORMAT, self.description], sort_keys=True).encode())

    def head(self, checksums: np.ndarray) -> bytes:
        """Return all that precedes the pixels, given the checksum of each image (uint32 [n])."""
        rows = np.zeros(len(self.offsets), _ROW)
        rows["offset"], rows["height"], rows["width"] = self.offsets, self.shapes_hw[:, 0], self.shapes_hw[:, 1]
        rows["checksum"] = checksums
        described = json.dumps(self.description, sort_keys=True).encode().ljust(_PAGE - _HEAD.size)
        body = described + rows.tobytes()
        begin = _rounded_up(_PAGE + len(rows) * _ROW.itemsize, _PAGE)
        return (_HEAD.pack(MAGIC, FORMAT, hashlib.sha256(body).digest()) + body).ljust(begin, b"\0")


class Reader:
    """An open file, read at any place by several threads at once; it is closed when nobody holds it any more.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._map: np.ndarray | None = None
        if hasattr(os, "preadv"):
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._descriptor).atexit = False
        else:
            self._map = np.memmap(path, np.uint8, "r")

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return os.fstat(self._descriptor).st_size if self._map is None else len(self._map)

    def fill(self, buffer: np.ndarray, offset: int) -> None:
        """Fill `buffer`, uint8 [n], from the byte at `offset` on.

        Raises:
            Damaged: the file ends before.
            OSError: it cannot be read.
        """
        if self._map is not None:
            part = self._map[offset : offset + len(buffer)]
            if len(part) < len(buffer):
                raise Damaged("it is cut short")
            buffer[:] = part
            return
        done = 0
        while done < len(buffer):
            got = os.preadv(self._descriptor, [buffer[done:].data], offset + done)
            if not got:
                raise Damaged("it is cut short")
            done += got

    def image(self, offset: int, height: int, width: int) -> np.ndarray:
        """Return the pixels from the byte at `offset` on, RGB uint8 [height, width, 3]. Raises as `fill`."""
        pixels = np.empty(height * width * 3, np.uint8)
        self.fill(pixels, offset)
        return pixels.reshape(height, width, 3)


def read_digest(reader: Reader) -> bytes:
    """Return the digest in the head of a file, which stands for the table with all checksums.

    Raises:
        Damaged: it is no file of packed images.
        OSError: it cannot be read.
    """
    head = np.empty(_HEAD.size, np.uint8)
    reader.fill(head, 0)
    magic, version, digest = _HEAD.unpack(head.tobytes())
    if magic != MAGIC or version != FORMAT:
        raise Damaged("it is no file of packed images")
    return digest


def read_checksums(reader: Reader, layout: Layout) -> np.ndarray:
    """Return the checksum of each image, uint32 [n], from a file that has exactly this layout.

    Raises:
        Damaged: it has another one, or its head does not agree with its digest.
        OSError: it cannot be read.
    """
    digest = read_digest(reader)
    if reader.size_bytes != layout.file_bytes:
        raise Damaged("it is cut short" if reader.size_bytes < layout.file_bytes else "it is too long")
    body = np.empty(_PAGE - _HEAD.size + len(layout.offsets) * _ROW.itemsize, np.uint8)
    reader.fill(body, _HEAD.size)
    if hashlib.sha256(body.data).digest() != digest:
        raise Damaged("its head is damaged")
    checksums = body[_PAGE - _HEAD.size :].view(_ROW)["checksum"].astype(np.uint32)
    if layout.head(checksums)[: _HEAD.size + len(body)] != _HEAD.pack(MAGIC, FORMAT, digest) + body.tobytes():
        raise Damaged("it holds other images")
    return checksums


def check_pixels(reader: Reader, layout: Layout, threads: int) -> None:
    """Compare every image with its checksum, several at a time.

    Raises:
        Damaged: the pixels of an image are not those that were written.
        OSError: the file cannot be read.
    """
    checksums = read_checksums(reader, layout).tolist()
    places = np.concatenate((layout.offsets[:, None], layout.shapes_hw), 1).tolist()
    found = in_order(lambda image: zlib.crc32(reader.image(*places[image]).data), len(places), threads)
    for image, checksum in enumerate(console.progress(found, len(places), "checking the image cache")):
        if checksum != checksums[image]:
            raise Damaged(f"the pixels of image {image} are damaged")


def write(path: Path, layout: Layout, load: Load, threads: int, title: str) -> None:
    """Write a file of packed images, whole or not at all; only one process may do that at a time.

    Args:
        path: the file.
        layout: see `Layout.plan`.
        load: gives the images of the layout.
        threads: images that are made at a time.
        title: shown before the progress bar.

    Raises:
        DataError: an image cannot be read.
        EnvironmentFault: the file cannot be written.
    """

    def made(image: int) -> tuple[np.ndarray, int]:
        pixels = np.ascontiguousarray(load(image))
        return pixels, zlib.crc32(pixels.data)

    count = len(layout.offsets)
    checksums = np.zeros(count, np.uint32)
    files.remove_leftovers(path)
    with files.atomic_path(path) as temporary, temporary.open("wb") as stream:
        _reserve(stream, layout.file_bytes)
        images = in_order(made, count, threads)
        for image, (pixels, checksum) in enumerate(console.progress(images, count, title)):
            stream.seek(int(layout.offsets[image]))
            stream.write(pixels.data)
            checksums[image] = checksum
        stream.truncate(layout.file_bytes)
        stream.seek(0)
        stream.write(layout.head(checksums))


def in_order(work: Callable[[int], Result], count: int, threads: int) -> Iterator[Result]:
    """Yield work(0), work(1), ... up to `count`, made by several threads that are never far ahead of the reader."""
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for number in range(count):
            waiting.append(pool.submit(work, number))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _resized(sizes_hw: np.ndarray, imgsz: int) -> np.ndarray:
    """Return `resized_hw` of each size, int32 [n, 2]; large sets have few different sizes."""
    sizes, places = np.unique(np.ascontiguousarray(sizes_hw, np.int32).view(np.int64), return_inverse=True)
    different = sizes.view(np.int32).reshape(-1, 2).tolist()
    shapes = np.array([resized_hw((height, width), imgsz) for height, width in different], np.int32).reshape(-1, 2)
    return shapes[places.reshape(-1)]


def _reserve(stream: BinaryIO, size_bytes: int) -> None:
    """Take the space of a file at once: what is missing is known before the work is done."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(stream.fileno(), 0, size_bytes)
        except OSError as error:
            if error.errno not in _NO_RESERVING:
                raise


def _rounded_up(value: Any, unit: int) -> Any:
    return -(-value // unit) * unit
