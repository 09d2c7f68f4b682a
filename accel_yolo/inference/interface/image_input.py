"""Images as people hold them, as RGB arrays; without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from accel_yolo.data.images import pillow_to_rgb, read_image
from accel_yolo.errors import ConfigError, DataError
from accel_yolo.inference.sources.items import Item
from accel_yolo.inference.sources.named import find_items
from accel_yolo.inference.sources.urls import fetched, is_url

if TYPE_CHECKING:
    from torch import Tensor

ImageLike = Union[str, Path, Image.Image, NDArray[np.uint8], "Tensor"]
"""A path or URL of an image file, a PIL image, or uint8 [H, W, 3] or [3, H, W] in RGB order (array or tensor)."""

_SHAPE = "pass uint8 [H, W, 3] or [3, H, W] in RGB order (from OpenCV: image[..., ::-1])"


def to_rgb(image: ImageLike) -> NDArray[np.uint8]:
    """Return uint8 [H, W, 3] RGB of a path, a PIL image, an array or a tensor.

    An array whose last side is 3 is [H, W, 3]; otherwise, if the first is 3, it is [3, H, W]. A single channel
    ([H, W], or 1 in place of 3) is grey; a fourth is transparency, laid over white as in files.

    Raises:
        DataError: the file is missing or damaged, or the array is no image.
        EnvironmentFault: the URL cannot be fetched.
    """
    if isinstance(image, str) and is_url(image):
        return read_image(str(fetched(image)))
    if isinstance(image, str | Path):
        if not Path(image).is_file():
            raise DataError("image not found", value=image, remedy="check the path")
        return read_image(str(image))
    if isinstance(image, Image.Image):
        return pillow_to_rgb(ImageOps.exif_transpose(image))
    array: Any = image
    if is_tensor(image):
        array = array.detach().cpu().numpy()
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim not in (2, 3) or 0 in array.shape:
        raise _no_image(image)
    if array.ndim == 2:
        array = array[..., None]
    elif array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.shape[2] not in (1, 3, 4):
        raise _no_image(image)
    if array.shape[2] == 4:
        return pillow_to_rgb(Image.fromarray(np.ascontiguousarray(array)))
    return np.ascontiguousarray(np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array)


def is_tensor(value: object) -> bool:
    """Return whether a value is a tensor of torch, without importing torch."""
    return any(kind.__module__ == "torch" and kind.__name__ == "Tensor" for kind in type(value).__mro__)


def is_network_input(value: object) -> bool:
    """Return whether a value is a batch [B, 3, H, W] of floats, which goes to the network as it is."""
    return is_tensor(value) and getattr(value, "ndim", 0) == 4 and bool(getattr(value, "is_floating_point", bool)())


def named_images(word: str | Path) -> list[Item]:
    """Return the images that a text names.

    Raises:
        DataError, ConfigError: it names no image, or something else too.
    """
    items = find_items(str(word))
    for item in items:
        if item.kind not in ("image", "file") or item.content is not None:
            raise ConfigError("not an image file", value=item.shown, remedy="model.stream(...) takes it")
    return [replace(item, kind="image") for item in items]


def listed(images: ImageLike | Sequence[ImageLike]) -> tuple[bool, list[ImageLike]]:
    """Return whether one image was given, and the images."""
    if isinstance(images, str | Path):
        return True, [images]
    if isinstance(images, Sequence):
        return False, [*images]
    return True, [images]


def path_of(item: ImageLike, number: int) -> Path:
    """Return the path of an image, a made-up one for an array: "image3"."""
    return Path(item) if isinstance(item, str | Path) else Path(f"image{number}")


def _no_image(value: Any) -> DataError:
    kind = getattr(value, "dtype", type(value).__name__)
    shape = list(getattr(value, "shape", ()))
    return DataError("not an image", value=f"{kind} {shape}" if shape else kind, remedy=_SHAPE)
