"""Labels as the text of each format; what is read back from it is the same to the last bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from accel_yolo.data.formats.record import LEAST_POINTS


@dataclass(frozen=True)
class WrittenImage:
    """One image to be written.

    Attributes:
        name: its file name, relative to the folder of images.
        size_hw: (height, width) as displayed, px.
        rows: [k, 5] float32: class, cx, cy, w, h (0..1).
        polygons: k outlines [p, 2] float32 (0..1); p = 0 for a plain box.
    """

    name: str
    size_hw: tuple[int, int]
    rows: np.ndarray
    polygons: Sequence[np.ndarray]


def yolo_text(image: WrittenImage) -> tuple[str, int]:
    """Return the label file of an image, and how many outlines had to be left out.

    A line with an outline has no box of its own: it is read as the extent of the outline. Where that is another box
    than the object has, the box is written.
    """
    lines, left_out = [], 0
    for row, polygon in zip(image.rows, image.polygons, strict=True):
        values = row[1:]
        if len(polygon) >= LEAST_POINTS:
            low, high = polygon.min(0), polygon.max(0)
            is_same = np.array_equal(np.concatenate(((low + high) / 2, high - low)), row[1:])
            left_out += not is_same
            values = polygon.ravel() if is_same else values
        # Nine digits tell every float32 apart.
        lines.append(" ".join([str(int(row[0])), *(f"{value:.9g}" for value in values)]))
    return "".join(f"{line}\n" for line in lines), left_out


def voc_text(image: WrittenImage, names: Mapping[int, str], file_name: str) -> str:
    """Return the annotation file of an image; outlines are written as labelling services write them."""
    height, width = image.size_hw
    lines = [
        "<annotation>",
        f"  <filename>{escape(file_name)}</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
    ]
    for row, polygon in zip(image.rows, image.polygons, strict=True):
        left, top, box_width, box_height = box_px(row, image.size_hw)
        corners = zip(("xmin", "ymin", "xmax", "ymax"), (left, top, left + box_width, top + box_height), strict=True)
        lines += [
            "  <object>",
            f"    <name>{escape(names[int(row[0])])}</name>",
            "    <difficult>0</difficult>",
            f"    <bndbox>{''.join(f'<{tag}>{value!r}</{tag}>' for tag, value in corners)}</bndbox>",
        ]
        if len(polygon) >= LEAST_POINTS:
            points = enumerate(outline_px(polygon, image.size_hw), start=1)
            text = "".join(f"<x{number}>{x!r}</x{number}><y{number}>{y!r}</y{number}>" for number, (x, y) in points)
            lines.append(f"    <polygon>{text}</polygon>")
        lines.append("  </object>")
    return "\n".join([*lines, "</annotation>", ""])


def coco_content(images: Sequence[WrittenImage], names: Mapping[int, str]) -> dict[str, Any]:
    """Return the content of a COCO json; images, categories and annotations are numbered from 1."""
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, start=1):
        for row, polygon in zip(image.rows, image.polygons, strict=True):
            box = box_px(row, image.size_hw)
            has_outline = len(polygon) >= LEAST_POINTS
            outline = [value for point in outline_px(polygon, image.size_hw) for value in point] if has_outline else []
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(row[0]) + 1,
                    "bbox": list(box),
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "segmentation": [outline] if outline else [],
                }
            )
    return {
        "images": [
            {"id": number, "file_name": image.name, "height": image.size_hw[0], "width": image.size_hw[1]}
            for number, image in enumerate(images, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": number + 1, "name": name} for number, name in names.items()],
    }


def box_px(row: np.ndarray, size_hw: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return left, top, width, height in px of a row class, cx, cy, w, h."""
    cx, cy, width, height = row[1:].astype(np.float64).tolist()
    return (cx - width / 2) * size_hw[1], (cy - height / 2) * size_hw[0], width * size_hw[1], height * size_hw[0]


def outline_px(polygon: np.ndarray, size_hw: tuple[int, int]) -> list[list[float]]:
    """Return the points x, y in px of an outline 0..1."""
    return (polygon.astype(np.float64) * (size_hw[1], size_hw[0])).tolist()
