"""A data set as a user has it from a labelling tool: a folder of images and one COCO json, no splits, no data YAML."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data.index import build_index


def make_own_data(root: Path, data: Path, *, classes: Sequence[str] = (), images: int | None = None) -> Path:
    """Write `images/` and `annotations.json` from the training split of another data set and return the folder.

    Args:
        root: a new folder.
        data: the data YAML of the other.
        classes: names of those that are kept; all when empty.
        images: how many, at most.
    """
    spec = load_data_spec(data, splits=("train",))
    index = build_index(spec, "train", single_cls=False, bad_data="fail", workers=1)
    names = {number: name for number, name in spec.names.items() if not classes or name in classes}
    paths = index.paths[:images]
    (root / "images").mkdir(parents=True)
    for path in paths:
        shutil.copy(path, root / "images")
    annotations = []
    for image, kind, *corners in index.labels_px().tolist():
        if kind in names and image < len(paths):
            x1, y1, x2, y2 = (round(value, 2) for value in corners)
            box = [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
            annotations.append({"id": len(annotations), "image_id": image, "category_id": kind, "bbox": box})
    content = {
        "images": [{"id": number, "file_name": Path(path).name} for number, path in enumerate(paths)],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in names.items()],
    }
    (root / "annotations.json").write_text(json.dumps(content))
    return root
