"""xView 2018: one GeoJSON; a feature has `image_id`, `type_id` and `bounds_imcoords`, "x1,y1,x2,y2" in px.

Format: https://github.com/DIUx-xView/data_utilities; numbers of the classes: xView1_baseline/xview_class_labels.txt.
"""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path

from accel_yolo.data.listing import is_image_name
from accel_yolo.data.published.coco_like import bad
from accel_yolo.data.published.json_stream import elements
from accel_yolo.data.published.labels_out import Size, label_line, size_of, write_labels, write_list
from accel_yolo.data.published.step import Step

TYPE_IDS = (
    11, 12, 13, 15, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 32, 33, 34, 35, 36, 37, 38, 40, 41, 42, 44, 45, 47,
    49, 50, 51, 52, 53, 54, 55, 56, 57, 59, 60, 61, 62, 63, 64, 65, 66, 71, 72, 73, 74, 76, 77, 79, 83, 84, 86, 89, 91,
    93, 94,
)  # fmt: skip
"""The published number of each class, in the order of the class names."""

IMAGES = "train_images"
VAL_SHARE = 10
"""Labels are published for the training images alone: one in this many is held out, by its name, always the same."""


def steps(root: Path) -> list[Step]:
    """Return the one step."""
    results = (root / "labels" / IMAGES, root / "train.txt", root / "val.txt")
    return [Step(root / "xView_train.geojson", results, partial(_make, root))]


def _make(root: Path) -> None:
    folder = root / "images" / IMAGES
    names = sorted(path.name for path in folder.iterdir() if is_image_name(path.name)) if folder.is_dir() else []
    sizes = {name: size for name in names if (size := size_of(folder / name)) is not None}
    if not sizes:
        return
    texts = _labels(root / "xView_train.geojson", sizes)
    held_out = {name for name in sizes if zlib.crc32(name.encode("utf-8", "surrogateescape")) % VAL_SHARE == 0}
    write_list(root / "train.txt", (f"images/{IMAGES}/{name}" for name in sizes if name not in held_out))
    write_list(root / "val.txt", (f"images/{IMAGES}/{name}" for name in held_out))
    write_labels(root / "labels" / IMAGES, texts)


def _labels(file: Path, sizes: dict[str, Size]) -> dict[str, str]:
    class_of = {type_id: number for number, type_id in enumerate(TYPE_IDS)}
    texts = dict.fromkeys(sizes, "")
    for number, feature in enumerate(elements(file, "features")):
        try:
            facts = feature["properties"]
            name, kind = facts["image_id"], class_of.get(facts["type_id"])
            if kind is None or name not in sizes or not facts["bounds_imcoords"]:
                continue
            x1, y1, x2, y2 = (float(word) for word in facts["bounds_imcoords"].split(","))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise bad(file, "features", number) from None
        texts[name] += label_line(kind, (x1, y1, x2, y2), sizes[name])
    return texts
