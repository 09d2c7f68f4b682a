"""Image files out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from accel_yolo.errors import EnvironmentFault

_WRITABLE = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


def write_image(path: Path, image: NDArray[np.uint8]) -> Path:
    """Write uint8 [H, W, 3] RGB and return the path used: `path`, or with `.jpg` where its format cannot be written.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    if path.suffix.lower() not in _WRITABLE:
        path = path.with_name(f"{path.stem if path.suffix else path.name}.jpg")
    write_file(path, encoded(image, path.suffix.lower()))
    return path


def encoded(image: NDArray[np.uint8], kind: str, quality: int = 95) -> bytes:
    """Return the content of an image file.

    Args:
        image: uint8 [H, W, 3] RGB.
        kind: the suffix of its name, such as ".jpg".
        quality: of a JPEG, 1..100.

    Raises:
        EnvironmentFault: the image cannot be encoded.
    """
    how = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind in {".jpg", ".jpeg"} else []
    # In memory, then by Python: OpenCV cannot open every file name.
    done, content = cv2.imencode(kind, np.ascontiguousarray(image[..., ::-1]), how)
    if not done:
        raise EnvironmentFault("cannot encode the image", value=f"{image.shape[1]} x {image.shape[0]} px as {kind}")
    return content.tobytes()


def write_file(path: Path, content: bytes) -> None:
    """Write `content`, creating the folder.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise EnvironmentFault("cannot write", str(path), error.strerror or error, "check space and rights") from error
