"""What a prediction tells while it runs and at its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from accel_yolo import console
from accel_yolo.errors import escaped
from accel_yolo.inference.results import Detections
from accel_yolo.inference.sources.frames import Frame, Unreadable
from accel_yolo.inference.sources.items import Item

_CLASSES_SHOWN = 5


class Report:
    """Tells one line for each image, a bar and a line for each video, a bar for all streams together.

    Args:
        verbose: tell a line for each frame as well.
    """

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._images, self._frames, self._videos, self._skipped = 0, 0, 0, 0
        self._parts_ms = {"decode": 0.0, "letterbox": 0.0, "network": 0.0, "NMS": 0.0}
        self._video: _Running | None = None
        self._started = time.perf_counter()

    @property
    def pictures(self) -> int:
        """How many were looked at."""
        return self._images + self._frames

    def start(self) -> None:
        """Start the clock: what came before was loading."""
        self._started = time.perf_counter()

    def found(self, frame: Frame, found: Detections) -> None:
        """Tell what was found in a picture."""
        self._parts_ms["decode"] += frame.decode_ms
        self._parts_ms["letterbox"] += frame.prepare_ms + found.speed.prepare_ms
        self._parts_ms["network"] += found.speed.network_ms
        self._parts_ms["NMS"] += found.speed.nms_ms
        item = frame.item
        if item.kind == "image":
            self._end_video()
            self._images += 1
        else:
            self._frames += 1
            self._follow(frame, found)
            if not self._verbose:
                return
        place = "" if item.kind == "image" else f" ({frame.number}{f'/{frame.total}' if frame.total else ''})"
        height, width = found.input_hw
        tiles = f" x{found.tiles}" if found.tiles > 1 else ""
        line = f"{height}x{width}{tiles} {found.summary()}, {found.speed.network_ms:.1f} ms"
        console.say(f"{item.label}{place} {escaped(item.shown)}: {line}")

    def readable(self, looked: Iterable[tuple[Frame, Detections] | Unreadable]) -> Iterator[tuple[Frame, Detections]]:
        """Yield what was found in each picture, and warn in between of what cannot be read."""
        for seen in looked:
            if isinstance(seen, Unreadable):
                self.unreadable(seen)
            else:
                yield seen

    def unreadable(self, what: Unreadable) -> None:
        """Warn of an item, or the rest of it, that cannot be read."""
        self._end_video()
        if what.frames:
            console.warn(f"{what.item.label}: {what.error}")
            return
        self._skipped += 1
        console.warn(f"{what.item.label} skipped: {what.error}")

    def end(self, folder: Path, imgsz: tuple[int, int], write_ms: float) -> None:
        """Tell how much was done, how fast, and where it is."""
        self._end_video()
        wall_s = time.perf_counter() - self._started
        parts = {**self._parts_ms, "write": write_ms}
        each = ", ".join(f"{ms / self.pictures:.1f} ms {part}" for part, ms in parts.items())
        unit = "images" if self._images else "frames"
        console.say(
            f"speed per image: {each}; {self.pictures / wall_s:.1f} {unit}/s together, at most {imgsz[0]}x{imgsz[1]} px"
        )
        done = [_counted(self._images, "image")] if self._images else []
        if self._frames:
            done.append(f"{_counted(self._frames, 'frame')} of {_counted(self._videos, 'video')}")
        skipped = f", {self._skipped} skipped" if self._skipped else ""
        console.say(f"{' and '.join(done)} done{skipped}, results in {folder}")

    def close(self) -> None:
        """Take away a bar that is still shown."""
        if self._video is not None:
            self._video.bar.close()

    def _follow(self, frame: Frame, found: Detections) -> None:
        # Streams run side by side: they share one bar.
        is_same = self._video is not None and (self._video.item is frame.item or frame.item.kind == "stream")
        if not is_same:
            self._end_video()
            self._video = _Running(frame)
            self._videos += frame.item.of if frame.item.kind == "stream" else 1
        assert self._video is not None
        self._video.add(frame, found)

    def _end_video(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None


class _Running:
    """The video, or all streams, that are being looked at."""

    def __init__(self, frame: Frame) -> None:
        item = self.item = frame.item
        self.bar = console.progress(None, frame.total or None, self._name(item), "frame")
        self._frames, self._number = 0, 0
        self._classes: Counter[str] = Counter()
        self._input_hw = (0, 0)
        self._started = time.perf_counter()

    def add(self, frame: Frame, found: Detections) -> None:
        """Count what was found in a frame."""
        # The bar counts frames of the video, of which --vid-stride leaves out some.
        self.bar.update(1 if frame.item.kind == "stream" else frame.number - self._number)
        self._number = frame.number
        self._frames += 1
        self._input_hw = found.input_hw
        self._classes.update({found.name_of(int(label)) for label in found.classes})

    def close(self) -> None:
        """End the bar and say what was seen."""
        self.bar.close()
        often = self._classes.most_common(_CLASSES_SHOWN)
        seen = ", ".join(f"{name} in {count}" for name, count in often) or "no detections"
        more = f" and {len(self._classes) - len(often)} more classes" if len(self._classes) > len(often) else ""
        height, width = self._input_hw
        speed = self._frames / (time.perf_counter() - self._started)
        line = f"{_counted(self._frames, 'frame')} of {height}x{width}, {seen}{more}, {speed:.1f} frames/s"
        console.say(f"{self._name(self.item)}: {line}")

    @staticmethod
    def _name(item: Item) -> str:
        if item.kind == "stream" and item.of > 1:
            return f"{item.of} streams"
        return f"{item.label} {escaped(item.shown)}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
