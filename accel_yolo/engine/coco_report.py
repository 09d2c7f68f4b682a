"""COCO's evaluation of a finished evaluation, and its results file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accel_yolo.config.data_union import DataUnion
from accel_yolo.config.dataset import DataSpec
from accel_yolo.data.scan import COCO
from accel_yolo.data.sources import Source
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.engine.evaluate import Evaluation
from accel_yolo.errors import DataError
from accel_yolo.metrics import coco


@dataclass(frozen=True)
class Classes:
    """The classes that are measured.

    Attributes:
        names: number to name, as detections number them.
        of_data: for each of these numbers, its number in the data set.
        some: not all classes of the data set, or all of them as one.
    """

    names: dict[int, str]
    of_data: tuple[int, ...]
    some: bool


def coco_report(
    result: Evaluation,
    by_labels: coco.CocoMetrics,
    index: SplitIndex,
    split: tuple[DataUnion, str],
    classes: Classes,
    predictions: Path,
) -> dict[str, Any]:
    """Write the COCO results JSON of an evaluation and return COCO's twelve numbers.

    On COCO itself the official annotations are the ground truth; elsewhere, and when only some classes are measured,
    the labels of the data set are. Images and categories have the ids of the data set where it is a COCO json.

    Args:
        result: the evaluation.
        by_labels: COCO's numbers with the labels as the truth.
        index: the images.
        split: the data sets, and the name of the split.
        classes: what is measured.
        predictions: the file to write.

    Raises:
        DataError: COCO's annotations are missing, or an image is none of COCO's.
    """
    union, _ = split
    image_ids, category_ids = _ids(*split, index, classes)
    table = coco.result_table(result.detections, category_ids)
    coco.save_results(predictions, table, image_ids)
    if union.is_coco and not classes.some:
        truth = coco.ground_truth_from_json(_official_annotations(union.specs[0]))
        table[:, 0] = _numbers(image_ids)[table[:, 0].astype(np.int64)]
        return asdict(coco.coco_metrics(truth, table))
    return asdict(by_labels)


def _ids(union: DataUnion, split: str, index: SplitIndex, classes: Classes) -> tuple[list[int | str], tuple[int, ...]]:
    """Return the id of each image and the category id of each class."""
    spec, *others = union.specs
    listed = Source(spec, split).listing.coco if spec.format == COCO and not others else None
    if listed is None:
        ids = coco.COCO_CATEGORY_IDS if union.is_coco else tuple(range(len(union.names)))
        return [coco.image_id_of(path) for path in index.paths], tuple(ids[number] for number in classes.of_data)
    known = {number: category for file in listed.files for number, category in file.category_ids.items()}
    # Results files know whole numbers only, for categories.
    categories = [known.get(number, number) for number in classes.of_data]
    numbers = tuple(
        each if isinstance(each, int) else number for each, number in zip(categories, classes.of_data, strict=True)
    )
    return [_image_id(listed.id_of(path)) for path in index.paths], numbers


def _image_id(number: float | str) -> int | str:
    return number if isinstance(number, int | str) else str(number)


def _official_annotations(spec: DataSpec) -> Path:
    return spec.val[0] if spec.format == "coco" else spec.root / "annotations" / "instances_val2017.json"


def _numbers(image_ids: list[int | str]) -> np.ndarray:
    names = [image_id for image_id in image_ids if isinstance(image_id, str)]
    if names:
        raise DataError("not an image of COCO", value=names[0], remedy="COCO's images are named by their numbers")
    return np.array(image_ids, dtype=np.int64)


def coco_numbers(result: Evaluation, index: SplitIndex, names: dict[int, str]) -> coco.CocoMetrics:
    """Return COCO's twelve numbers of an evaluation, the labels of the split being the truth."""
    boxes = result.detections
    table = np.column_stack((boxes[:, :3], boxes[:, 3:5] - boxes[:, 1:3], boxes[:, 5:7]))
    truth = coco.ground_truth_from_labels(np.arange(len(index)), index.sizes_hw, index.labels_px(), names)
    return coco.coco_metrics(truth, table)
