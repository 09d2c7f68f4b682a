"""All detections of a run in one file: CSV for tables, JSON for programs."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.inference.output.growing_file import GrowingFile
from accel_yolo.inference.results import Detection, Detections
from accel_yolo.metrics.coco import COCO_CATEGORY_IDS, image_id_of_stem

COLUMNS = (
    "Image Name",
    "Prediction",
    "Confidence",
    "xmin",
    "ymin",
    "xmax",
    "ymax",
    "class",
    "frame",
    "track",
)
"""The first three, and what stands in them, are those of YOLOv5's detect.py."""


@dataclass(frozen=True)
class Shown:
    """Which picture of a source detections belong to.

    Attributes:
        path: the file, URL or camera.
        frame: number of the frame in a video or stream, from 1; None for an image.
    """

    path: str
    frame: int | None = None


class PredictionFile(Protocol):
    """A file that grows by the detections of each picture."""

    def write(self, shown: Shown, found: Detections) -> None:
        """Add the detections of one picture. Raises EnvironmentFault."""

    def close(self) -> None:
        """Complete the file. Raises EnvironmentFault."""

    def abandon(self) -> None:
        """Leave the file as it is, under its partial name."""


class PredictionsCsv:
    """`predictions.csv`: a row for each object, from the least to the most confident of a picture, as RFC 4180 has it.

    Corners are in pixels of the picture, not rounded to whole ones.
    """

    def __init__(self, path: Path) -> None:
        self._file = GrowingFile(path)
        self._file.write(_csv_lines([COLUMNS]))
        self.abandon = self._file.abandon
        self.close = self._file.close

    def write(self, shown: Shown, found: Detections) -> None:
        """Add the rows of one picture. Raises EnvironmentFault."""
        rows = [_row(shown, one) for one in reversed(list(found))]
        if rows:
            self._file.write(_csv_lines(rows))


class PredictionsJson:
    """`predictions.json`: a list with an entry for each picture, also for those without objects; one entry a line."""

    def __init__(self, path: Path) -> None:
        self._file = GrowingFile(path)
        self._file.write("[")
        self._between = "\n"
        self.abandon = self._file.abandon

    def write(self, shown: Shown, found: Detections) -> None:
        """Add the entry of one picture. Raises EnvironmentFault."""
        for entry in self._entries(shown, found):
            self._file.write(self._between + json.dumps(entry, ensure_ascii=False))
            self._between = ",\n"

    def close(self) -> None:
        """Complete the list. Raises EnvironmentFault."""
        self._file.write("\n]\n")
        self._file.close()

    def _entries(self, shown: Shown, found: Detections) -> list[dict[str, Any]]:
        height, width = found.orig_hw
        head: dict[str, Any] = {"image": shown.path, "width": width, "height": height}
        if shown.frame is not None:
            head["frame"] = shown.frame
        return [{**head, "detections": [_rounded(row) for row in found.to_dicts()]}]


class CocoResults(PredictionsJson):
    """`predictions.json` as COCO's results format has it: a list with an entry for each object.

    An image's id is its file name without suffix, a number where it is one ("x-2" for the second image of one name, as
    its label file is called); a frame's is `<video>_<frame>`. A category
    is COCO's own number where the network knows exactly COCO's 80 classes, else the number of the class.
    """

    def _entries(self, shown: Shown, found: Detections) -> list[dict[str, Any]]:
        image_id = image_id_of_stem(found.stem) if shown.frame is None else found.stem
        return found.to_coco(image_id, _categories(tuple(found.names.values())))


@functools.lru_cache(maxsize=1)
def _categories(names: tuple[str, ...]) -> dict[int, int] | None:
    """Return class number -> COCO's number of it where the classes are COCO's, else None."""
    is_coco = names == tuple(load_data_spec("coco128", splits=()).names.values())
    return dict(enumerate(COCO_CATEGORY_IDS)) if is_coco else None


def _row(shown: Shown, one: Detection) -> tuple[str | int, ...]:
    # As YOLOv5 has it: the name of the file without its folder.
    corners = (f"{value:.2f}" for value in one.box_xyxy)
    frame = "" if shown.frame is None else shown.frame
    track = "" if one.track_id is None else one.track_id
    name = Path(shown.path).name or shown.path
    return name, one.name, f"{one.confidence:.2f}", *corners, one.class_id, frame, track


def _csv_lines(rows: Sequence[Sequence[str | int]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with pixels to two digits and the confidence to five after the point."""
    digits = {"confidence": 5, "xmin": 2, "ymin": 2, "xmax": 2, "ymax": 2}
    return {key: round(value, digits[key]) if key in digits else value for key, value in row.items()}
