"""One image in, its detections out."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from accel_yolo.devices import autocast_dtype
from accel_yolo.errors import ConfigError
from accel_yolo.inference.mapping import Placement
from accel_yolo.inference.results import Detections, Speed
from accel_yolo.letterbox import Letterbox
from accel_yolo.metrics.nms import NmsOptions, non_max_suppression

if TYPE_CHECKING:
    from accel_yolo.models.detector import Detector


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


class Predictor:
    """A detector on a device, ready for images.

    Args:
        detector: taken over: moved, set to evaluation and its normalisation fused into the convolutions.
        device: where it runs.
        precision: "auto" and "fp32" compute in float32; "fp16" and "bf16" run the network in that type.

    Raises:
        ConfigError: fp16 on a CPU.
    """

    def __init__(self, detector: Detector, device: torch.device, precision: str = "auto") -> None:
        self.dtype = autocast_dtype(precision, device)
        self.detector = detector.float().eval().fuse().to(device)
        self.device = device
        self.names = detector.names
        self.stride = max(32, *detector.strides)

    @torch.inference_mode()
    def __call__(
        self, image: NDArray[np.uint8], options: PredictOptions, path: str = "", stem: str = "image"
    ) -> Detections:
        """Return the objects in one image.

        The image is resized to fit `options.imgsz` and padded only to the next multiple of the stride, so the result
        depends on this image alone.

        Args:
            image: uint8 [H, W, 3] RGB.
            options: size and thresholds.
            path: where it came from, for the result.
            stem: name for files made from the result.

        Raises:
            ConfigError: a class filter names a class that the detector does not have.
        """
        self.check(options)
        started = time.perf_counter()
        source_hw = image.shape[0], image.shape[1]
        box = Letterbox.plan(source_hw, fitting_hw(options.imgsz, self.stride), auto=True, stride=self.stride)
        pixels = torch.from_numpy(box.apply(image)).to(self.device)
        batch = pixels.permute(2, 0, 1)[None].float() / 255
        prepared = self._clock()
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            raws = self.detector(batch)
        decoded = self.detector.decode([raw.float() for raw in raws])
        computed = self._clock()
        rows = non_max_suppression(decoded, options.nms)[0]
        boxes_xyxy = Placement.computed(source_hw, box.out_hw).to_source(rows[:, :4])
        found = _to_numpy(boxes_xyxy), _to_numpy(rows[:, 4]), _to_numpy(rows[:, 5]).astype(np.int64)
        times = (prepared - started, computed - prepared, self._clock() - computed)
        speed = Speed(*(1e3 * seconds for seconds in times))
        return Detections(*found, self.names, image, path=path, stem=stem, input_hw=box.out_hw, speed=speed)

    def warm_up(self) -> None:
        """Run once on a small empty image, so that the first real one is not timed with the start of the device."""
        self(np.zeros((self.stride, self.stride, 3), dtype=np.uint8), PredictOptions((self.stride, self.stride)))

    def check(self, options: PredictOptions) -> None:
        """Raise ConfigError where `options` name a class that the detector does not have."""
        unknown = sorted(set(options.nms.classes or ()) - set(self.names))
        if unknown:
            remedy = f"this detector has classes 0 to {len(self.names) - 1}"
            raise ConfigError("no such class", "--classes", unknown[0], remedy)

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _to_numpy(values: Tensor) -> NDArray:
    return values.cpu().numpy()
