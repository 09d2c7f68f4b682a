"""What was found in one image, in every form people ask for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accel_yolo.inference.output.conversion import coco_rows, columns_of_supervision, to_supervision
from accel_yolo.inference.output.crops import enlarged_crop
from accel_yolo.inference.output.drawing import DrawOptions, draw_boxes
from accel_yolo.inference.output.encoding import write_image
from accel_yolo.inference.output.showing import show_image

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True)
class Speed:
    """Milliseconds spent on one image: letterbox and transfer, network, non-maximum suppression and mapping back."""

    prepare_ms: float = 0.0
    network_ms: float = 0.0
    nms_ms: float = 0.0


@dataclass(frozen=True)
class Detection:
    """One object: corners (x1, y1, x2, y2) in px of the source image, confidence in 0..1, class number and name; the
    number of its track, None where objects are not followed, or not yet this one."""

    box_xyxy: tuple[float, float, float, float]
    confidence: float
    class_id: int
    name: str
    track_id: int | None = None


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects of one image, most confident first.

    >>> found = accel_yolo.load("best.pt", device="cpu")("photo.jpg")
    >>> len(found), found.xyxy.shape, found.orig_hw
    (8, (8, 6), (426, 640))
    >>> next(iter(found)).name
    'dog'

    Attributes:
        boxes_xyxy: [n, 4] float32, corners in px of the source image, inside it.
        confidences: [n] float32, 0..1.
        classes: [n] int64.
        names: class number -> name.
        image: [H, W, 3] uint8 RGB, the source image (kept for `plot`, `save` and `crops`).
        path: where the image came from; "" for an array.
        stem: name without suffix for files made from it, distinct within one call.
        input_hw: size of the network input, px.
        speed: where the time went.
        track_ids: [n] int64, the same number for the same object in all frames of a video, from 1; -1 where an object
            has no track (yet). None where objects are not followed.
        tiles: pictures that the network saw of the image; more than 1 where it was cut into tiles.
    """

    boxes_xyxy: NDArray[np.float32]
    confidences: NDArray[np.float32]
    classes: NDArray[np.int64]
    names: dict[int, str] = field(repr=False)
    image: NDArray[np.uint8] = field(repr=False)
    path: str = ""
    stem: str = "image"
    input_hw: tuple[int, int] = (0, 0)
    speed: Speed = Speed()
    track_ids: NDArray[np.int64] | None = None
    tiles: int = 1

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    def __str__(self) -> str:
        return f"{self.path or self.stem}: {self.summary()}"

    def __iter__(self) -> Iterator[Detection]:
        tracks = [-1] * len(self) if self.track_ids is None else self.track_ids.tolist()
        columns = zip(self.boxes_xyxy.tolist(), self.confidences, self.classes, tracks, strict=True)
        for box, confidence, label, track in columns:
            name = self.name_of(int(label))
            yield Detection(tuple(box), float(confidence), int(label), name, None if track < 0 else track)

    def name_of(self, label: int) -> str:
        """Return the name of a class; its number where it has none."""
        return self.names.get(label, str(label))

    @property
    def orig_hw(self) -> tuple[int, int]:
        """(height, width) of the source image, px."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def xyxy(self) -> NDArray[np.float32]:
        """[n, 6] float32: x1, y1, x2, y2 in px of the source image, confidence, class."""
        return self._table(self.boxes_xyxy)

    @property
    def xywh(self) -> NDArray[np.float32]:
        """[n, 6] float32: centre x, centre y, width, height in px of the source image, confidence, class."""
        low, high = self.boxes_xyxy[:, :2], self.boxes_xyxy[:, 2:]
        return self._table(np.concatenate(((low + high) / 2, high - low), axis=1))

    @property
    def xyxyn(self) -> NDArray[np.float32]:
        """[n, 6] float32: x1, y1, x2, y2 as fractions of width and height, confidence, class."""
        return self._normalised(self.xyxy)

    @property
    def xywhn(self) -> NDArray[np.float32]:
        """[n, 6] float32: centre x, centre y, width, height as fractions of width and height, confidence, class."""
        return self._normalised(self.xywh)

    def rounded(self) -> Detections:
        """Return the same with boxes at whole pixels, as files and drawings have them."""
        return replace(self, boxes_xyxy=self.boxes_xyxy.round())

    def summary(self) -> str:
        """Return "2 persons, 1 dog", classes in order of their numbers, or "no detections"."""
        labels, counts = np.unique(self.classes, return_counts=True)
        parts = [
            f"{n} {self.name_of(int(label))}{'s' if n > 1 else ''}" for label, n in zip(labels, counts, strict=True)
        ]
        return ", ".join(parts) or "no detections"

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dict for each object: xmin, ymin, xmax, ymax in px, confidence, class, name; ready for JSON.

        Where objects are followed there is also track, the number of the object's track or None.
        """
        rows = []
        for found in self:
            row: dict[str, Any] = dict(zip(("xmin", "ymin", "xmax", "ymax"), found.box_xyxy, strict=True))
            row.update({"confidence": found.confidence, "class": found.class_id, "name": found.name})
            rows.append(row if self.track_ids is None else {**row, "track": found.track_id})
        return rows

    def to_json(self) -> str:
        """Return the objects as a JSON list: see `to_dicts`."""
        return json.dumps(self.to_dicts())

    def to_coco(self, image_id: int | str, category_ids: Mapping[int, int] | None = None) -> list[dict[str, Any]]:
        """Return the objects as COCO's result files have them: see `conversion.coco_rows`."""
        return coco_rows(self, image_id, category_ids)

    def to_supervision(self) -> supervision.Detections:
        """Return the objects as `supervision.Detections`, with names in `data["class_name"]` and track numbers.

        Raises:
            EnvironmentFault: supervision is not installed.
        """
        return to_supervision(self)

    @classmethod
    def from_supervision(
        cls, given: supervision.Detections, image: NDArray[np.uint8], names: Mapping[int, str] | None = None
    ) -> Detections:
        """Return the objects in `supervision.Detections` of an image uint8 [H, W, 3] RGB, in the order given.

        Args:
            given: see there; without confidences they are 1, without classes 0.
            image: the image they were found in.
            names: class number -> name; None takes those in `data["class_name"]`.
        """
        boxes, scores, classes, known = columns_of_supervision(given)
        return cls(boxes, scores, classes, known if names is None else dict(names), image)

    def show(self, options: DrawOptions | None = None) -> bool:
        """Return whether the image with its boxes could be shown; one warning says so where there is no display."""
        return show_image(self.plot(options))

    def plot(self, options: DrawOptions | None = None) -> NDArray[np.uint8]:
        """Return a copy of the image with the boxes drawn on it, uint8 [H, W, 3] RGB."""
        # The least confident first, so that the most confident lies on top.
        return draw_boxes(self.image, list(self)[::-1], options or DrawOptions())

    def crops(self) -> list[NDArray[np.uint8]]:
        """Return each object cut out with a small margin, uint8 [h, w, 3] RGB, most confident first."""
        return [enlarged_crop(self.image, found.box_xyxy) for found in self]

    def save(self, folder: str | Path, options: DrawOptions | None = None) -> Path:
        """Write the image with its boxes into `folder` (created if missing) and return the path of the file.

        The name is `stem` with the suffix of the source (`.jpg` for an array or a format that cannot be written); a
        file of that name is replaced.
        """
        return write_image(Path(folder) / f"{self.stem}{Path(self.path).suffix}", self.plot(options))

    def _table(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        columns = (boxes, self.confidences[:, None], self.classes[:, None])
        return np.concatenate(columns, axis=1).astype(np.float32)

    def _normalised(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width = self.orig_hw
        return table / np.array([width, height, width, height, 1, 1], dtype=np.float32)
