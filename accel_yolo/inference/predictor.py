"""Images in, their detections out."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from accel_yolo.errors import ConfigError
from accel_yolo.inference.mapping import Placement
from accel_yolo.inference.network import Network
from accel_yolo.inference.results import Detections, Speed
from accel_yolo.letterbox import Letterbox
from accel_yolo.metrics.nms import NmsOptions
from accel_yolo.models.network_input import network_input


@dataclass(frozen=True)
class PredictOptions:
    """What is asked of a prediction.

    Attributes:
        imgsz: largest network input (height, width), px; rounded up to the network's stride.
        nms: thresholds and filters.
    """

    imgsz: tuple[int, int] = (640, 640)
    nms: NmsOptions = field(default_factory=lambda: NmsOptions(max_det=1000))


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
    """

    image: NDArray[np.uint8]
    path: str = ""
    stem: str = "image"


class Predictor:
    """A network ready for images of any size."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.names = network.names

    def __call__(
        self, image: NDArray[np.uint8], options: PredictOptions, path: str = "", stem: str = "image"
    ) -> Detections:
        """Return the objects in one image: see `detect`."""
        return self.detect([Picture(image, path, stem)], options)[0]

    @torch.inference_mode()
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
        boxes = [self._letterbox(picture.image, options) for picture in pictures]
        alike: dict[tuple[int, int], list[int]] = {}
        for place, box in enumerate(boxes):
            alike.setdefault(box.out_hw, []).append(place)
        found: dict[int, Detections] = {}
        for places in alike.values():
            group = self._detect_alike([pictures[p] for p in places], [boxes[p] for p in places], options)
            found.update(zip(places, group, strict=True))
        return [found[place] for place in range(len(pictures))]

    def warm_up(self) -> None:
        """Run once on a small empty image, so that the first real one is not timed with the start of the device."""
        side = self.network.stride
        self(np.zeros((side, side, 3), dtype=np.uint8), PredictOptions((side, side)))

    def check(self, options: PredictOptions) -> None:
        """Raise ConfigError where `options` name a class that the network does not have."""
        unknown = sorted(set(options.nms.classes or ()) - set(self.names))
        if unknown:
            remedy = f"this detector has classes 0 to {len(self.names) - 1}"
            raise ConfigError("no such class", "--classes", unknown[0], remedy)

    def _letterbox(self, image: NDArray[np.uint8], options: PredictOptions) -> Letterbox:
        source_hw, stride = (image.shape[0], image.shape[1]), self.network.stride
        if self.network.fixed_hw is not None:
            return Letterbox.plan(source_hw, self.network.fixed_hw)
        return Letterbox.plan(source_hw, fitting_hw(options.imgsz, stride), auto=True, stride=stride)

    def _detect_alike(
        self, pictures: Sequence[Picture], boxes: Sequence[Letterbox], options: PredictOptions
    ) -> list[Detections]:
        times = [self._clock()]
        pixels = np.stack([box.apply(picture.image) for box, picture in zip(boxes, pictures, strict=True)])
        batch = network_input(torch.from_numpy(pixels).to(self.network.device), self.network.input_dtype)
        times.append(self._clock())
        output = self.network(batch)
        times.append(self._clock())
        kept = self.network.found(output, len(pictures), options.nms)
        tables = [_placed(rows, picture.image, box) for rows, picture, box in zip(kept, pictures, boxes, strict=True)]
        times.append(self._clock())
        speed = Speed(*(np.diff(times) * 1e3 / len(pictures)).tolist())
        return [
            Detections(*table, self.names, picture.image, picture.path, picture.stem, input_hw=box.out_hw, speed=speed)
            for table, picture, box in zip(tables, pictures, boxes, strict=True)
        ]

    def _clock(self) -> float:
        if self.network.device.type == "cuda":
            torch.cuda.synchronize(self.network.device)
        return time.perf_counter()


def _placed(rows: Tensor, image: NDArray[np.uint8], box: Letterbox) -> tuple[NDArray, NDArray, NDArray]:
    """Return boxes [k, 4] in px of the image, confidences [k] and classes [k] of rows [k, 6] of a network input."""
    boxes_xyxy = Placement.computed((image.shape[0], image.shape[1]), box.out_hw).to_source(rows[:, :4])
    return _to_numpy(boxes_xyxy), _to_numpy(rows[:, 4]), _to_numpy(rows[:, 5]).astype(np.int64)


def _to_numpy(values: Tensor) -> NDArray:
    return values.cpu().numpy()
