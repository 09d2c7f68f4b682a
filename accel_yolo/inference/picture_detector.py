"""From images of any size to a network's input and back, whatever runs the network; without torch."""

# B images of one input size, k objects of an image

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from accel_yolo.errors import ConfigError
from accel_yolo.inference.mapping import Placement
from accel_yolo.inference.results import Detections, Speed
from accel_yolo.inference.tiles.tiled import detect_tiled
from accel_yolo.inference.tiles.tiling import Tiling
from accel_yolo.letterbox import Letterbox
from accel_yolo.metrics.nms_options import NmsOptions


@dataclass(frozen=True)
class PredictOptions:
    """What is asked of a prediction.

    Attributes:
        imgsz: largest network input (height, width), px; rounded up to the network's stride.
        nms: thresholds and filters.
        tiling: how images larger than a tile are cut; None looks at whole images.
    """

    imgsz: tuple[int, int] = (640, 640)
    nms: NmsOptions = field(default_factory=lambda: NmsOptions(max_det=1000))
    tiling: Tiling | None = None


def size_hw(imgsz: tuple[int, ...]) -> tuple[int, int]:
    """Return (height, width) of `--imgsz`: one value is a square, two are height and width.

    Raises:
        ConfigError: another number of values, or a value below 1.
    """
    if len(imgsz) not in (1, 2) or min(imgsz, default=0) < 1:
        value = " ".join(map(str, imgsz)) or "''"
        raise ConfigError("not an image size", "--imgsz", value, "give one number, or height and width")
    return imgsz[0], imgsz[-1]


def fitting_hw(hw: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return `hw` rounded up to multiples of `stride`."""
    return math.ceil(hw[0] / stride) * stride, math.ceil(hw[1] / stride) * stride


@dataclass(frozen=True, eq=False)
class Picture:
    """One image to look at.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        path: where it came from; "" for an array.
        stem: name without suffix for files made from the result.
        ready: the network input made of it ahead, and how the image lies in it; see `PictureDetector.prepare`.
    """

    image: NDArray[np.uint8]
    path: str = ""
    stem: str = "image"
    ready: tuple[Letterbox, NDArray[np.uint8]] | None = None


Found = tuple[list[NDArray[np.float32]], Speed]
"""B tables [k, 6] of x1, y1, x2, y2 in network-input pixels, confidence, class, most confident first; and the
milliseconds that the whole batch took."""


class PictureDetector(ABC):
    """Finds objects in images of any size.

    Attributes:
        names: class number -> name.
        stride: input sizes are multiples of this, px.
        fixed_hw: the only input size (height, width) that the network takes, px; None takes any multiple of `stride`.
    """

    names: dict[int, str]
    stride: int
    fixed_hw: tuple[int, int] | None

    def __call__(
        self, image: NDArray[np.uint8], options: PredictOptions, path: str = "", stem: str = "image"
    ) -> Detections:
        """Return the objects in one image: see `detect`."""
        return self.detect([Picture(image, path, stem)], options)[0]

    def detect(self, pictures: Sequence[Picture], options: PredictOptions) -> list[Detections]:
        """Return the objects in each of several images; those of one input size go through the network together.

        An image is resized to fit `options.imgsz` and padded only to the next multiple of the stride, so its input
        depends on this image alone. (A network of fixed input size gets that size.)

        Args:
            pictures: the images.
            options: size and thresholds.

        Raises:
            ConfigError: a class filter names a class that the network does not have.
        """
        self.check(options)
        if options.tiling is not None:
            return detect_tiled(self.detect, pictures, replace(options, tiling=None), options.tiling)
        boxes = [self._letterbox(picture.image, options) for picture in pictures]
        alike: dict[tuple[int, int], list[int]] = {}
        for place, box in enumerate(boxes):
            alike.setdefault(box.out_hw, []).append(place)
        found: dict[int, Detections] = {}
        for places in alike.values():
            group = self._detect_alike([pictures[p] for p in places], [boxes[p] for p in places], options)
            found.update(zip(places, group, strict=True))
        return [found[place] for place in range(len(pictures))]

    def prepare(self, picture: Picture, options: PredictOptions) -> Picture:
        """Return the picture with its network input beside it, which `detect` then need not make.

        It may be called in another thread, while the network is busy.
        """
        if options.tiling is not None:
            return picture
        box = self._letterbox(picture.image, options)
        return replace(picture, ready=(box, box.apply(picture.image)))

    def warm_up(self) -> None:
        """Run once on a small empty image, so that the first real one is not timed with the start of the device."""
        side = self.stride
        # The strictest thresholds: nothing is asked for that NMS in an exported graph may have dropped.
        strict = NmsOptions(conf_thres=1.0, iou_thres=0.0, max_det=1)
        self(np.zeros((side, side, 3), dtype=np.uint8), PredictOptions((side, side), strict))

    def check(self, options: PredictOptions) -> None:
        """Raise ConfigError where `options` name a class that the network does not have."""
        unknown = sorted(set(options.nms.classes or ()) - set(self.names))
        if unknown:
            remedy = f"this detector has classes 0 to {len(self.names) - 1}"
            raise ConfigError("no such class", "--classes", unknown[0], remedy)

    @abstractmethod
    def found(self, boxes: Sequence[Letterbox], pictures: Sequence[Picture], options: PredictOptions) -> Found:
        """Return the objects kept of pictures whose letterboxes have one size."""

    def _letterbox(self, image: NDArray[np.uint8], options: PredictOptions) -> Letterbox:
        source_hw = image.shape[0], image.shape[1]
        if self.fixed_hw is not None:
            return Letterbox.plan(source_hw, self.fixed_hw)
        return Letterbox.plan(source_hw, fitting_hw(options.imgsz, self.stride), auto=True, stride=self.stride)

    def _detect_alike(
        self, pictures: Sequence[Picture], boxes: Sequence[Letterbox], options: PredictOptions
    ) -> list[Detections]:
        tables, speed = self.found(boxes, pictures, options)
        each = Speed(*(ms / len(pictures) for ms in (speed.prepare_ms, speed.network_ms, speed.nms_ms)))
        return [
            _detections(table, picture, self.names, box, each)
            for table, picture, box in zip(tables, pictures, boxes, strict=True)
        ]


def letterboxed(boxes: Sequence[Letterbox], pictures: Sequence[Picture]) -> NDArray[np.uint8]:
    """Return the images in network inputs of one size, uint8 [B, H, W, 3] RGB."""
    return np.stack([_letterboxed(box, picture) for box, picture in zip(boxes, pictures, strict=True)])


def _letterboxed(box: Letterbox, picture: Picture) -> NDArray[np.uint8]:
    if picture.ready is not None and picture.ready[0] == box:
        return picture.ready[1]
    return box.apply(picture.image)


def _detections(
    table: NDArray[np.float32], picture: Picture, names: dict[int, str], box: Letterbox, speed: Speed
) -> Detections:
    source_hw = picture.image.shape[0], picture.image.shape[1]
    boxes_xyxy = Placement.computed(source_hw, box.out_hw).to_source(table[:, :4])
    columns = boxes_xyxy, table[:, 4], table[:, 5].astype(np.int64)
    return Detections(*columns, names, picture.image, picture.path, picture.stem, input_hw=box.out_hw, speed=speed)
