"""COCO's own results file and COCO's own mAP."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hotcoco import COCO, COCOeval
from numpy.typing import NDArray

from accel_yolo.errors import DataError
from accel_yolo.files import write_text_atomic

_UNUSED_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_CATEGORY_IDS = tuple(i for i in range(1, 91) if i not in _UNUSED_IDS)
"""COCO's category number of each of the 80 classes: the annotations count to 90 and leave out ten."""

DETECTION_COLUMNS = 7
ROWS_AT_ONCE = 10_000
RESULT_ROW = '{"image_id": %s, "category_id": %d, "bbox": [%.3f, %.3f, %.3f, %.3f], "score": %.5f}'
_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


@dataclass(frozen=True)
class CocoMetrics:
    """COCO's twelve numbers, 0..1, or -1 where no label is of that size.

    Attributes:
        ap, ap50, ap75: mean AP at IoU 0.50:0.95, at 0.5, at 0.75.
        ap_small, ap_medium, ap_large: mean AP of labels under 32² px, up to 96² px, above.
        ar1, ar10, ar100: mean recall with at most 1, 10, 100 detections per image.
        ar_small, ar_medium, ar_large: mean recall by size, at most 100 detections.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float


def image_id_of(path: str) -> int | str:
    """Return the COCO image id of a file: its stem, as a number when it is one ("000000000139.jpg" -> 139)."""
    return image_id_of_stem(Path(path).stem)


def image_id_of_stem(stem: str) -> int | str:
    """Return the COCO image id that a name without suffix means: a number when it is one."""
    # isdecimal alone would let through digits of other scripts; COCO ids are plain ones.
    return int(stem) if stem.isascii() and stem.isdecimal() else stem


def result_table(detections: NDArray[np.floating], category_ids: tuple[int, ...] | None = None) -> NDArray[np.float64]:
    """Return detections as COCO's results format holds them.

    Args:
        detections: [n, 7] float; number of the image, x1, y1, x2, y2 in px of the original image, confidence, class.
        category_ids: category of each class (COCO_CATEGORY_IDS for COCO); None writes the class number.

    Returns:
        [n, 7] float64: number of the image, left, top, width, height (3 decimals), score (5 decimals), category.
    """
    table = np.array(detections, dtype=np.float64).reshape(-1, DETECTION_COLUMNS)
    table[:, 3:5] -= table[:, 1:3]
    table[:, 1:5] = table[:, 1:5].round(3)
    table[:, 5] = table[:, 5].round(5)
    if category_ids is not None:
        table[:, 6] = np.asarray(category_ids)[table[:, 6].astype(np.int64)]
    return table


def save_results(path: Path, table: NDArray[np.float64], image_ids: Sequence[int | str]) -> None:
    """Write COCO's results JSON, whole or not at all.

    Args:
        path: the file.
        table: see `result_table`.
        image_ids: the COCO id of each image number.
    """
    # One format string for all rows of a kind: a JSON library takes five times as long for a million rows.
    texts = [json.dumps(image_id) for image_id in image_ids]
    pieces = []
    for part in np.array_split(table, max(len(table) // ROWS_AT_ONCE, 1)):
        numbers, categories = part[:, 0].astype(np.int64).tolist(), part[:, 6].astype(np.int64).tolist()
        columns = zip([texts[number] for number in numbers], categories, *part[:, 1:6].T.tolist(), strict=True)
        pieces.append(", ".join([RESULT_ROW] * len(part)) % tuple(itertools.chain.from_iterable(columns)))
    write_text_atomic(path, f"[{', '.join(pieces)}]")


def ground_truth_from_json(annotations: Path) -> COCO:
    """Return COCO's annotations, such as `annotations/instances_val2017.json`.

    Raises:
        DataError: the file is missing or is not COCO annotations.
    """
    if not annotations.is_file():
        raise DataError("COCO annotations not found", value=annotations, remedy="check the data set's folder")
    try:
        return COCO(str(annotations))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DataError("not COCO annotations", str(annotations), error) from error


def ground_truth_from_labels(
    image_ids: NDArray[np.integer], sizes_hw: NDArray[np.integer], labels: NDArray[np.floating], names: dict[int, str]
) -> COCO:
    """Return labels of any data set as COCO ground truth; a label's area is its box's, and none is a crowd.

    Args:
        image_ids: [i] distinct numbers of the images.
        sizes_hw: [i, 2] their height and width, px.
        labels: [m, 6] float; image id, class, x1, y1, x2, y2 in px of the original image.
        names: every class; its number is the category id.
    """
    images = [
        {"id": int(number), "height": int(height), "width": int(width)}
        for number, (height, width) in zip(image_ids, sizes_hw, strict=True)
    ]
    labels = np.asarray(labels, dtype=np.float64).reshape(-1, 6)
    annotations = []
    for number, (image_id, label, x1, y1, x2, y2) in enumerate(labels.tolist(), start=1):
        width, height = x2 - x1, y2 - y1
        annotations.append(
            {
                "id": number,
                "image_id": int(image_id),
                "category_id": int(label),
                "bbox": [x1, y1, width, height],
                "area": width * height,
                "iscrowd": 0,
            }
        )
    categories = [{"id": number, "name": name} for number, name in names.items()]
    return COCO({"images": images, "annotations": annotations, "categories": categories})


def coco_metrics(ground_truth: COCO, detections: NDArray[np.floating]) -> CocoMetrics:
    """Return COCO's twelve numbers (by hotcoco, digit for digit those of pycocotools).

    An image of the ground truth without detections counts as missed.

    Args:
        ground_truth: see `ground_truth_from_json` and `ground_truth_from_labels`.
        detections: [n, 7] float; image id, left, top, width, height in px, confidence, category id. n = 0 scores 0.

    Raises:
        DataError: detections for an image the ground truth does not know.
    """
    detections = np.asarray(detections, dtype=np.float64).reshape(-1, 7)
    unknown = np.setdiff1d(detections[:, 0].astype(np.int64), np.asarray(ground_truth.get_img_ids(), dtype=np.int64))
    if len(unknown):
        remedy = "the annotations belong to other images"
        raise DataError("COCO annotations do not know this image id", value=int(unknown[0]), remedy=remedy)
    evaluation = COCOeval(ground_truth, ground_truth.load_res(detections), "bbox")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its table; ours is printed by the console
        evaluation.run()
    numbers = evaluation.get_results()
    return CocoMetrics(*(float(numbers[name]) for name in _METRICS))
