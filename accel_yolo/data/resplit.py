"""A data set split anew: by the content of the images, so that a split does not depend on their names or order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from accel_yolo.data.convert import DATA_YAML, require_text, write_data_yaml
from accel_yolo.data.formats.writing import WrittenImage, coco_content
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.data.subsets import some_images
from accel_yolo.errors import DataError
from accel_yolo.files import whole_folder, write_text_atomic


def split_by_content(index: SplitIndex, shares: Mapping[str, float], seed: int) -> dict[str, np.ndarray]:
    """Return the images of each split, int64 in rising order.

    Images are ranked by a hash of the seed and their content, and the ranking is cut into the shares. Copies of one
    image have one rank and stay together, so that none is trained on and measured with; what is added to the data set
    later moves only the images next to the cuts.

    Args:
        index: all images.
        shares: split to its share; the first split takes what the others leave.
        seed: another one gives another ranking.
    """
    keys = [hashlib.sha256(f"{seed} {key}".encode()).digest() for key in index.content_keys.tolist()]
    ranked = sorted(range(len(index)), key=lambda image: (keys[image], image))
    first, *others = shares
    counts = {split: round(shares[split] * len(index)) for split in others}
    found, place = {}, 0
    for split in others:
        end = place + counts[split]
        while place < end < len(ranked) and keys[ranked[end]] == keys[ranked[end - 1]]:
            end += 1
        found[split] = np.sort(np.array(ranked[place:end], np.int64))
        place = end
    return {first: np.sort(np.array(ranked[place:], np.int64)), **found}


def write_split(
    folder: Path, index: SplitIndex, parts: Mapping[str, np.ndarray], names: Mapping[int, str], kind: str
) -> Path:
    """Write lists of the images of each split (COCO: a json each) and a data YAML; no image is moved or copied.

    Raises:
        DataError: a split would be empty.
        EnvironmentFault: the folder cannot be written.
    """
    for split, images in parts.items():
        if not len(images):
            raise DataError("a split without images", split, f"of {len(index)} images", "take another share")
    require_text(index.paths)
    places = {}
    with whole_folder(folder) as root:
        for split, images in parts.items():
            part = some_images(index, images)
            if kind == "coco":
                written = [
                    WrittenImage(path, (height, width), part.labels_of(number), part.polygons_of(number))
                    for number, (path, (height, width)) in enumerate(
                        zip(part.paths, part.sizes_hw.tolist(), strict=True)
                    )
                ]
                places[split] = f"{split}.json"
                write_text_atomic(root / places[split], json.dumps(coco_content(written, names)))
            else:
                places[split] = f"{split}.txt"
                write_text_atomic(root / places[split], "".join(f"{path}\n" for path in part.paths))
        write_data_yaml(root / DATA_YAML, places, names, kind)
    return folder / DATA_YAML
