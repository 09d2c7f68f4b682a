"""The images on which an export is compared with torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data.demo import demo_scene
from accel_yolo.data.images import read_image
from accel_yolo.data.sources import Source
from accel_yolo.errors import DataError

IMAGES = 6


def check_images(data: str) -> list[NDArray[np.uint8]]:
    """Return a handful of images, uint8 [H, W, 3] RGB.

    Args:
        data: a data YAML, whose first validation images are taken; "" draws scenes as the demo data set has them.

    Raises:
        DataError: the data set has no readable images here.
    """
    if not data:
        return [demo_scene("val", number).image for number in range(IMAGES)]
    spec = load_data_spec(data, splits=("val",))
    if spec.generator:
        return check_images("")
    found = Source(spec, "val").listing.paths[:IMAGES]
    if not found:
        raise DataError("no validation images here to compare on", data, remedy="leave --data out")
    return [read_image(path) for path in found]
