"""The Python interface: load weights, call with images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from accel_yolo.data.images import read_image
from accel_yolo.devices import named_device
from accel_yolo.errors import ConfigError, DataError
from accel_yolo.inference.network import TorchNetwork
from accel_yolo.inference.networks import NetworkOptions, load_network
from accel_yolo.inference.predictor import PredictOptions, Predictor, size_hw
from accel_yolo.inference.results import Detections
from accel_yolo.inference.sources import distinct_stems, find_images
from accel_yolo.metrics.nms import NmsOptions

if TYPE_CHECKING:
    from accel_yolo.models.detector import Detector

ImageLike = str | Path | Image.Image | NDArray[np.uint8]
_SHAPE = "pass uint8 [H, W, 3] in RGB order (from OpenCV: image[..., ::-1])"


def load_model(weights: str | Path, device: str = "", precision: str = "auto") -> Model:
    """Return a detector ready for images.

    Args:
        weights: a `.safetensors` or YOLOv5 `.pt` file, or the name of a published one ("yolov5s.pt").
        device: "" takes the first CUDA device, else the CPU; "cpu", "mps", or a CUDA index such as "0".
        precision: "auto" (float32), "fp32", "fp16" or "bf16".

    Raises:
        CheckpointError: no such weights, or damaged ones.
        ConfigError, EnvironmentFault: no such device or precision.
    """
    return Model(Predictor(load_network((str(weights),), named_device(device), NetworkOptions(precision))))


class Model:
    """A loaded detector: call it with images."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    @property
    def names(self) -> dict[int, str]:
        """Class number -> name."""
        return self.predictor.names

    @property
    def detector(self) -> Detector:
        """The detector itself, a `torch.nn.Module`, fused.

        Raises:
            ConfigError: another runtime than torch runs it.
        """
        if not isinstance(self.predictor.network, TorchNetwork):
            raise ConfigError("no torch module", "this model", remedy="load .pt or .safetensors weights")
        return self.predictor.network.detector

    def __call__(
        self,
        images: ImageLike | Sequence[ImageLike],
        imgsz: int | tuple[int, int] = 640,
        conf: float = 0.25,
        iou: float = 0.45,
        classes: Sequence[int] | None = None,
        agnostic: bool = False,
        max_det: int = 1000,
    ) -> Detections | list[Detections]:
        """Return the objects found: one `Detections` for one image, a list for several.

        Args:
            images: one image: the path of an image file, a PIL image, or an array uint8 [H, W, 3] in **RGB** order;
                or several: a list or tuple of those, or a string that names a folder, a glob pattern or a `.txt` list.
            imgsz: longest side of the network input in px, or (height, width).
            conf: least confidence, 0..1.
            iou: boxes of one class that overlap more than this are merged into the most confident, 0..1.
            classes: only these class numbers.
            agnostic: merge across classes.
            max_det: at most this many objects per image.

        Raises:
            DataError: an image is missing, damaged, or not of such a shape or type.
            ConfigError: a threshold or size out of range, or a source that is not available yet (video, URL).
        """
        nms = NmsOptions(conf, iou, None if classes is None else tuple(classes), agnostic, max_det=max_det)
        options = PredictOptions(size_hw((imgsz,) if isinstance(imgsz, int) else tuple(imgsz)), nms)
        single, items = _listed(images)
        stems = distinct_stems(_path_of(item, number) for number, item in enumerate(items))
        results = []
        for item, stem in zip(items, stems, strict=True):
            path = str(item) if isinstance(item, str | Path) else ""
            results.append(self.predictor(to_rgb(item), options, path=path, stem=stem))
        return results[0] if single else results


def to_rgb(image: ImageLike) -> NDArray[np.uint8]:
    """Return uint8 [H, W, 3] RGB of a path, a PIL image or an array.

    Raises:
        DataError: the file is missing or damaged, or the array is not uint8 [H, W, 3].
    """
    if isinstance(image, str | Path):
        if not Path(image).is_file():
            raise DataError("image not found", value=image, remedy="check the path")
        return read_image(str(image))
    if isinstance(image, Image.Image):
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    kind: Any = getattr(image, "dtype", type(image).__name__)
    shape = getattr(image, "shape", ())
    if not isinstance(image, np.ndarray) or kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise DataError("not an image", value=f"{kind} {list(shape)}", remedy=_SHAPE)
    return np.ascontiguousarray(image)


def _listed(images: ImageLike | Sequence[ImageLike]) -> tuple[bool, list[ImageLike]]:
    """Return whether one image was meant, and the images."""
    if isinstance(images, str | Path):
        found = find_images(str(images))
        return found == [Path(images)], [*found]
    if isinstance(images, Sequence):
        return False, [*images]
    return True, [images]


def _path_of(item: ImageLike, number: int) -> Path:
    return Path(item) if isinstance(item, str | Path) else Path(f"image{number}")
