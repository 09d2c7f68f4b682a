"""From the items of a source to batches of pictures, read ahead of the network."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from accel_yolo.data.images import decode, read_image
from accel_yolo.data.problems import BadFile
from accel_yolo.errors import DataError, UserError
from accel_yolo.inference.picture_detector import Picture
from accel_yolo.inference.sources.background import ahead
from accel_yolo.inference.sources.frames import Frame, Unreadable
from accel_yolo.inference.sources.items import Item
from accel_yolo.inference.sources.urls import fetched, is_url, kind_of_url, not_a_file

MOST_BYTES = 512 << 20
"""Of pictures in the hands of the decoders, of those that wait to be looked at, that are being looked at, and that wait
to be written: of each so many."""
_MOST_READERS = 8


def read_batches(
    items: Sequence[Item], batch: int, prepare: Callable[[Picture], Picture], stride: int = 1
) -> Iterator[list[Frame | Unreadable]]:
    """Yield the pictures of images and videos in order, up to `batch` at a time, and what cannot be read in its place.

    Args:
        items: images and videos.
        batch: pictures of a batch, at most.
        prepare: what is done with each picture as it is read.
        stride: of the frames of a video, yield every so many.
    """
    seen = ahead(_prepared(items, prepare, stride), 2 * batch + 2, MOST_BYTES, _bytes_of)
    gathered: list[Frame | Unreadable] = []
    pictures = 0
    with contextlib.closing(seen):
        for one in seen:
            gathered.append(one)
            pictures += isinstance(one, Frame)
            # What cannot be read is told as soon as nothing before it waits.
            if pictures in (0, batch):
                yield gathered
                gathered, pictures = [], 0
        if gathered:
            yield gathered


def read_items(items: Sequence[Item], stride: int = 1) -> Iterator[Frame | Unreadable]:
    """Yield every picture of images and videos in order; images are decoded by several threads."""
    readers = max(1, min(_MOST_READERS, (os.cpu_count() or 1) // 2))
    pool = ThreadPoolExecutor(readers, thread_name_prefix="decoder")
    waiting: deque[tuple[Item, Future[Frame | Unreadable | Item] | None]] = deque()
    upcoming = iter(items)
    sizes: deque[int] = deque(maxlen=readers + 1)  # of the newest images, bytes
    try:
        while True:
            while len(waiting) < _room(readers + 1, sizes) and (item := next(upcoming, None)) is not None:
                waiting.append((item, None if item.kind == "video" else pool.submit(_image, item)))
            if not waiting:
                return
            item, image = waiting.popleft()
            seen = item if image is None else image.result()
            if isinstance(seen, Item):
                yield from _video(seen, stride)
            else:
                sizes.append(_bytes_of(seen))
                yield seen
    finally:
        pool.shutdown(cancel_futures=True)


def _room(most: int, sizes: Sequence[int]) -> int:
    """Return how many images may be in decoding at once, if the next ones are as large as the newest that were read.

    How large the first ones are is not known: two, until one is there.
    """
    return max(1, min(most, MOST_BYTES // max(1, *sizes))) if sizes else min(most, 2)


def prepared(frame: Frame, prepare: Callable[[Picture], Picture]) -> Frame:
    """Return a frame whose picture is prepared, and the time that took."""
    started = time.perf_counter()
    picture = prepare(frame.picture)
    return replace(frame, picture=picture, prepare_ms=(time.perf_counter() - started) * 1e3)


def _prepared(
    items: Sequence[Item], prepare: Callable[[Picture], Picture], stride: int
) -> Iterator[Frame | Unreadable]:
    for seen in read_items(items, stride):
        yield prepared(seen, prepare) if isinstance(seen, Frame) else seen


def _image(item: Item) -> Frame | Unreadable | Item:
    """Return the picture of an item; or the item, where it has turned out to be a video."""
    started = time.perf_counter()
    try:
        if item.kind == "file":
            item = replace(item, kind=kind_of_url(item.word))
        if item.kind == "stream":
            raise not_a_file(item.word)
        if item.kind == "video":
            return item
        if item.content is not None:
            image = _decoded(item.content, item.word)
        else:
            image = read_image(str(fetched(item.word)) if is_url(item.word) else item.word)
    except UserError as error:
        return Unreadable(item, error)
    decode_ms = (time.perf_counter() - started) * 1e3
    return Frame(Picture(image, item.shown, item.stem), item, decode_ms=decode_ms)


def _decoded(content: bytes, name: str) -> np.ndarray:
    try:
        return decode(content, name)
    except BadFile as bad:
        raise DataError(bad.problem.rule, name, bad.problem.value or None, "see what writes it") from None


def _video(item: Item, stride: int) -> Iterator[Frame | Unreadable]:
    from accel_yolo.inference.sources.video import read_video

    try:
        yield from read_video(item, fetched(item.word) if is_url(item.word) else Path(item.word), stride)
    except UserError as error:
        yield Unreadable(item, error)


def _bytes_of(seen: Frame | Unreadable) -> int:
    return seen.weight if isinstance(seen, Frame) else 0
