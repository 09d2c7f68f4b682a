"""What a prediction writes: drawn pictures and videos, label files, crops, and all of it in one file."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from accel_yolo.inference.output.crops import save_crops
from accel_yolo.inference.output.drawing import DrawOptions
from accel_yolo.inference.output.encoding import write_file
from accel_yolo.inference.output.prediction_files import (
    CocoResults,
    PredictionFile,
    PredictionsCsv,
    PredictionsJson,
    Shown,
)
from accel_yolo.inference.output.texts import label_folder, label_text
from accel_yolo.inference.results import Detections
from accel_yolo.inference.sources.frames import Frame

if TYPE_CHECKING:
    from accel_yolo.config.predict_schema import PredictConfig
    from accel_yolo.inference.sources.video import VideoWriter


def draw_options(config: PredictConfig) -> DrawOptions:
    """Return how the flags ask boxes to be drawn."""
    return DrawOptions(config.line_thickness, labels=not config.hide_labels, confidences=not config.hide_conf)


class Outputs:
    """Writes what was asked for into the run folder, picture after picture.

    Args:
        folder: the run folder.
        config: what to write.
    """

    def __init__(self, folder: Path, config: PredictConfig) -> None:
        self.folder = folder
        self.config = config
        self._labels = label_folder(folder) if config.save_txt else None
        self.write_ms = 0.0
        self._draw = draw_options(config)
        self._tables: list[PredictionFile] = []
        if config.save_csv:
            self._tables.append(PredictionsCsv(folder / "predictions.csv"))
        if config.save_json:
            kind = CocoResults if config.save_json == "coco" else PredictionsJson
            self._tables.append(kind(folder / "predictions.json"))
        self._videos: dict[int, VideoWriter] = {}

    def write(self, frame: Frame, found: Detections) -> None:
        """Write what was found in one picture; boxes are drawn, cut out and labelled at whole pixels.

        Raises:
            EnvironmentFault: something cannot be written.
        """
        started = time.perf_counter()
        for table in self._tables:
            table.write(Shown(found.path, frame.number or None), found)
        found = found.rounded()
        config = self.config
        if not config.nosave:
            if frame.item.kind == "image":
                found.save(self.folder, self._draw)
            else:
                self._video_of(frame).write(found.plot(self._draw))
        if self._labels is not None:
            self._write_labels(self._labels, found)
        if config.save_crop:
            save_crops(found, self.folder / "crops")
        self.write_ms += (time.perf_counter() - started) * 1e3

    def close(self, whole: bool = True) -> None:
        """Complete all files. Raises EnvironmentFault where one cannot be completed, after the others are.

        Args:
            whole: everything that was to be written is; if not, tables keep a name that says so.
        """
        with contextlib.ExitStack() as closing:
            for table in self._tables:
                closing.callback(table.close if whole else table.abandon)
            self._tables = []
            self._end_videos()

    def _end_videos(self) -> None:
        with contextlib.ExitStack() as closing:
            for video in self._videos.values():
                closing.callback(video.close)
            self._videos = {}

    def _video_of(self, frame: Frame) -> VideoWriter:
        """Return the video that a frame belongs to; only streams are written side by side."""
        from accel_yolo.inference.sources.video import VideoWriter

        item = frame.item
        if item.number not in self._videos:
            if item.kind == "video":
                self._end_videos()
            self._videos[item.number] = VideoWriter(self.folder / f"{item.stem}.mp4", frame.fps)
        return self._videos[item.number]

    def _write_labels(self, folder: Path, found: Detections) -> None:
        path = folder / f"{found.stem}.txt"
        text = label_text(found, corners=self.config.save_format == 1, confidence=self.config.save_conf)
        if text:
            write_file(path, text.encode("utf-8"))
        else:  # with --exist-ok an earlier run may have found something
            path.unlink(missing_ok=True)
