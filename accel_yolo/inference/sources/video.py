"""Video files in and out, by OpenCV and the FFmpeg inside it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from accel_yolo.errors import DataError, EnvironmentFault, printable
from accel_yolo.files import fsync_dir, fsync_file, sha256_bytes
from accel_yolo.inference.picture_detector import Picture
from accel_yolo.inference.sources.frames import Frame, Unreadable
from accel_yolo.inference.sources.items import Item

STREAM_FPS = 30.0
_HIGHEST_FPS = 1000.0
_BEYOND_COUNT = 1
"""By so many frames the count in a header may be wrong without damage: many containers only hold a duration."""


def read_video(item: Item, path: Path, stride: int = 1) -> Iterator[Frame | Unreadable]:
    """Yield every frame of a video once, in order, turned as its metadata ask; then what is missing, if anything is.

    The count in the header is a promise, not a limit: frames are read until there are none.

    Args:
        item: the source.
        path: the file.
        stride: yield the first frame and then every so many.

    Raises:
        DataError: it cannot be opened, or holds no frame.
    """
    capture = opened(path)
    try:
        fps, total = _fps(capture), max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        number, is_damaged = 0, False
        started = time.perf_counter()
        while capture.grab():
            number += 1
            if (number - 1) % stride:
                continue
            done, bgr = capture.retrieve()
            if not done:
                number, is_damaged = number - 1, True
                break
            image: Any = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            picture = Picture(image, item.shown, f"{item.stem}_{number}")
            yield Frame(picture, item, number, fps / stride, total, (time.perf_counter() - started) * 1e3)
            started = time.perf_counter()
    finally:
        capture.release()
    if number == 0:
        raise DataError("the video holds no readable frame", value=item.shown, remedy="replace the file")
    if is_damaged or number < total - _BEYOND_COUNT:
        place = f"frame {number}" + (f" of {total}" if total else "")
        error = DataError("the video ends early", item.shown, place, "its rest is missing")
        yield Unreadable(item, error, number)


def quiet_opencv() -> None:
    """Keep OpenCV and FFmpeg silent, unless the user wants them to speak: they name no file, and we say what counts."""
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    # FFmpeg reads its level when OpenCV opens the first video.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def opened(path: Path) -> cv2.VideoCapture:
    """Return an open video file.

    Raises:
        DataError: there is none, or it is no video that FFmpeg reads.
    """
    quiet_opencv()
    try:
        size = path.stat().st_size
        with _openable(path) as name:
            capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
    except OSError as error:
        raise DataError("the video cannot be read", printable(str(path)), error.strerror or "") from error
    if not capture.isOpened():
        what = "0 bytes" if size == 0 else None
        raise DataError("not a video, or damaged", printable(str(path)), what, "see if a player opens it")
    return capture


class VideoWriter:
    """Writes one `.mp4` file; it gets its name when it is complete.

    Args:
        path: where it will be.
        fps: frames per second.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        # A name that FFmpeg can open, whatever that of the video is, and short enough.
        self._partial = path.with_name(f".{sha256_bytes(os.fsencode(path.name))[:16]}.partial.mp4")
        self._writer: cv2.VideoWriter | None = None
        self._size_wh = (0, 0)
        self.frames = 0

    def write(self, image: NDArray[np.uint8]) -> None:
        """Append a frame, uint8 [H, W, 3] RGB; the first one decides the size, others are scaled to it.

        Raises:
            EnvironmentFault: the file cannot be written.
        """
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if self._writer is None:
            self._open(bgr.shape[1], bgr.shape[0])
        assert self._writer is not None
        if (bgr.shape[1], bgr.shape[0]) != self._size_wh:
            bgr = cv2.resize(bgr, self._size_wh, interpolation=cv2.INTER_AREA)
        width, height = self._size_wh
        # Colours are stored for 2 x 2 pixels: an odd side grows by one, lest OpenCV cuts off the last row or column.
        if width % 2 or height % 2:
            bgr = cv2.copyMakeBorder(bgr, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        self._writer.write(bgr)
        self.frames += 1

    def close(self) -> None:
        """Complete the file and give it its name.

        Raises:
            EnvironmentFault: it is not complete, as on a full disk.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        # OpenCV says nothing of a full disk.
        if _frames_in(self._partial) < self.frames:
            self._partial.unlink(missing_ok=True)
            raise EnvironmentFault("cannot write the video", value=self.path, remedy="check space and rights")
        fsync_file(self._partial)
        self._partial.replace(self.path)
        fsync_dir(self.path.parent)

    def _open(self, width: int, height: int) -> None:
        quiet_opencv()
        self._size_wh = (width, height)
        padded = (width + width % 2, height + height % 2)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _openable(self.path.parent) as folder:
                name = f"{folder}/{self._partial.name}"
                self._writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), self.fps, padded)
        except OSError as error:
            remedy = f"{error.strerror}: check space and rights"
            raise EnvironmentFault("cannot write", value=self.path, remedy=remedy) from error
        if not self._writer.isOpened():
            raise EnvironmentFault("cannot write the video", value=self.path, remedy="check space and rights")


@contextlib.contextmanager
def _openable(path: Path) -> Iterator[str]:
    """Give the name of a file or folder for FFmpeg: absolute ("12:30.mp4" looks like an address), and in UTF-8."""
    name = str(path.absolute())
    if not any("\udc80" <= letter <= "\udcff" for letter in name):
        yield name
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield f"/dev/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _fps(capture: cv2.VideoCapture) -> float:
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0 < fps <= _HIGHEST_FPS else STREAM_FPS


def _frames_in(path: Path) -> int:
    """Return how many frames a file promises; 0 if it cannot be opened."""
    try:
        capture = opened(path)
    except DataError:
        return 0
    try:
        return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    finally:
        capture.release()
