"""Cameras and network streams: always the newest frame, and another try when one falls silent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from accel_yolo import console
from accel_yolo.errors import EnvironmentFault
from accel_yolo.inference.picture_detector import Picture
from accel_yolo.inference.sources.frames import Frame
from accel_yolo.inference.sources.items import Item
from accel_yolo.inference.sources.video import STREAM_FPS, quiet_opencv

_OPEN_TIMEOUT_MS, _READ_TIMEOUT_MS = 10_000, 10_000
_LONGEST_END_S, _LOOK_S = 2.0, 0.2
_Remark = tuple[Callable[[str], None], str]


@dataclass(frozen=True)
class Patience:
    """How long to wait for a stream, in seconds.

    Attributes:
        first_pause_s: before the second try; each further pause is twice as long.
        longest_pause_s: but no longer than this.
        give_up_s: how long no stream at all may answer before the run ends.
    """

    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0
    give_up_s: float = 60.0


class Streams:
    """Several streams, read at once.

    Args:
        items: the streams.
        patience: how long to wait for them.
        stride: of the frames of a stream, look at every so many.
    """

    def __init__(self, items: Sequence[Item], patience: Patience, stride: int = 1) -> None:
        self._changed = threading.Condition()
        self._patience = patience
        self._readers = [_Reader(item, patience, stride, self._changed) for item in items]

    def __iter__(self) -> Iterator[list[Frame]]:
        """Yield the newest frames that have not been seen yet, at most one of each stream, as soon as there is any.

        Raises:
            EnvironmentFault: no stream could be opened, or none has answered for `give_up_s`.
        """
        for reader in self._readers:
            reader.start()
        try:
            while True:
                yield self._newest()
        finally:
            self.stop()

    def stop(self) -> None:
        """Close all streams."""
        for reader in self._readers:
            reader.stop()
        for reader in self._readers:
            reader.join(_LONGEST_END_S)

    def _newest(self) -> list[Frame]:
        while True:
            with self._changed:
                frames = [frame for reader in self._readers if (frame := reader.take()) is not None]
                if not frames:
                    self._give_up_if_all_are_dead()
                remarks = [remark for reader in self._readers for remark in reader.take_remarks()]
            for speak, line in remarks:
                speak(line)
            if frames:
                return frames
            with self._changed:
                self._changed.wait_for(lambda: any(reader.has_news for reader in self._readers), timeout=_LOOK_S)

    def _give_up_if_all_are_dead(self) -> None:
        if not all(reader.is_dead for reader in self._readers):
            return
        names = ", ".join(reader.item.shown for reader in self._readers)
        if not any(reader.frames for reader in self._readers):
            what = "no such camera" if self._readers[0].item.word.isdecimal() else "the stream does not open"
            raise EnvironmentFault(what, value=names, remedy="see if a player opens it, or name another")
        silent_s = time.monotonic() - max(reader.alive_at for reader in self._readers)
        if silent_s >= self._patience.give_up_s:
            which = "the stream is" if len(self._readers) == 1 else "all streams are"
            remedy = "--stream-timeout waits longer"
            raise EnvironmentFault(f"{which} silent since {silent_s:.0f} s", value=names, remedy=remedy)


class _Reader(threading.Thread):
    """Reads one stream to no end, and keeps its newest frame."""

    def __init__(self, item: Item, patience: Patience, stride: int, changed: threading.Condition) -> None:
        super().__init__(name=f"stream {item.number}", daemon=True)
        self.item, self.frames, self.alive_at = item, 0, time.monotonic()
        self.is_dead = False
        self.fault: BaseException | None = None
        self._patience, self._stride, self._changed = patience, stride, changed
        self._frame: Frame | None = None
        self._remarks: list[_Remark] = []
        self._stopping = threading.Event()

    @property
    def has_news(self) -> bool:
        """Whether there is something to take; the condition is held."""
        return self._frame is not None or bool(self._remarks) or self.fault is not None

    def take(self) -> Frame | None:
        """Return the newest frame if nobody has taken it; the condition is held. Raises the fault of the thread."""
        if self.fault is not None:
            raise self.fault
        frame, self._frame = self._frame, None
        return frame

    def take_remarks(self) -> list[_Remark]:
        """Return what is to be said of the stream; the condition is held."""
        remarks, self._remarks = self._remarks, []
        return remarks

    def stop(self) -> None:
        """Say that nothing more is wanted."""
        self._stopping.set()

    def run(self) -> None:
        """Read until told to stop; a fault of ours ends the thread, and arrives where frames are awaited."""
        try:
            self._read_and_retry()
        except BaseException as error:  # noqa: BLE001
            with self._changed:
                self.fault = error
                self._changed.notify_all()

    def _read_and_retry(self) -> None:
        pause_s = self._patience.first_pause_s
        while not self._stopping.is_set():
            before = self.frames
            self._read_until_silent()
            if self.frames > before:
                pause_s = self._patience.first_pause_s
            what = "does not open"
            if self.frames:
                what = "has fallen silent" if self.frames > before else "is still silent"
            with self._changed:
                self.is_dead = True
                line = f"{self.item.label} {self.item.shown} {what}; trying again in {pause_s:g} s"
                self._remarks.append((console.warn, line))
                self._changed.notify_all()
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, self._patience.longest_pause_s)

    def _read_until_silent(self) -> None:
        capture = _opened(self.item)
        try:
            while not self._stopping.is_set():
                if not capture.grab():  # waits for the next one
                    return
                started = time.perf_counter()
                self.frames += 1
                if (self.frames - 1) % self._stride:
                    continue
                done, bgr = capture.retrieve()
                if not done:
                    return
                self._keep(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), (time.perf_counter() - started) * 1e3)
        finally:
            capture.release()

    def _keep(self, image: np.ndarray, decode_ms: float) -> None:
        picture = Picture(image, self.item.shown, f"{self.item.stem}_{self.frames}")
        with self._changed:
            if self.is_dead:
                after = f"after {time.monotonic() - self.alive_at:.0f} s"
                self._remarks.append((console.note, f"{self.item.label} {self.item.shown} answers {after}"))
            self._frame = Frame(picture, self.item, self.frames, STREAM_FPS, 0, decode_ms)
            self.is_dead, self.alive_at = False, time.monotonic()
            self._changed.notify_all()


def _opened(item: Item) -> cv2.VideoCapture:
    """Return a stream, which may not have opened."""
    quiet_opencv()
    if item.word.isdecimal():
        return cv2.VideoCapture(int(item.word))
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS]
    return cv2.VideoCapture(item.word, cv2.CAP_FFMPEG, limits)
