"""COCO annotations as labels: by image file, normalised to the size that the image really has."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from accel_yolo.data.formats.coco_file import NO_NUMBER, CocoFile, Id
from accel_yolo.data.formats.outline import outlines_of
from accel_yolo.data.formats.record import (
    NO_LABELS,
    BrokenRule,
    LabelledObject,
    LabelRules,
    Labels,
    distinct,
    labels_of,
    object_of_corners,
)
from accel_yolo.data.problems import Problem


@dataclass(frozen=True)
class CocoLabels:
    """The labels of the images of some COCO jsons, by path.

    Attributes:
        files: the jsons.
        places: path of an image to its file and its number there.
        starts: for each file, [n + 1] int64: the objects of image i are starts[i] to starts[i + 1].
        rows: for each file, [m, 5] float32: class, cx, cy, w, h (0..1) if the images have the sizes of their entries.
        are_good: for each file, [m] whether that row obeys the rules.
    """

    files: tuple[CocoFile, ...]
    places: dict[str, tuple[int, int]]
    starts: tuple[np.ndarray, ...]
    rows: tuple[np.ndarray, ...]
    are_good: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, files: tuple[CocoFile, ...], paths: list[list[str]]) -> CocoLabels:
        """Return the labels of files whose images lie at `paths`, one list for each file."""
        places: dict[str, tuple[int, int]] = {}
        for file, mine in enumerate(paths):
            for number, path in enumerate(mine):
                places.setdefault(path, (file, number))
        starts = tuple(np.searchsorted(file.image_of, np.arange(len(file.ids) + 1)) for file in files)
        rows, are_good = zip(*map(_rows, files), strict=True) if files else ((), ())
        return cls(files, places, starts, rows, are_good)

    def id_of(self, path: str) -> Id:
        """Return the id of the image at a path."""
        file, number = self.places[path]
        return self.files[file].ids[number]

    def labels_of(self, path: str, size_hw: tuple[int, int], rules: LabelRules) -> tuple[Labels, list[Problem]]:
        """Return the objects of an image, and what is wrong with the others.

        Args:
            path: of the image.
            size_hw: its (height, width) as displayed, px.
            rules: what a class may be.
        """
        which, number = self.places[path]
        file = self.files[which]
        problems = list(file.problems.get(number, []))
        written = tuple(file.sizes_hw[number].tolist())
        if NO_NUMBER not in written and written != size_hw:
            rule = f"image id {file.ids[number]} has another size than its entry says: {size_hw[1]} x {size_hw[0]} px"
            problems.append(Problem(file.file, 0, f"{written[1]} x {written[0]}", rule))
        if problems and not rules.lenient:
            return NO_LABELS, problems
        mine = range(int(self.starts[which][number]), int(self.starts[which][number + 1]))
        if not len(mine):
            return NO_LABELS, problems
        if written == size_hw and self.are_good[which][mine.start : mine.stop].all():
            rows = self.rows[which][mine.start : mine.stop]
            if rules.single_cls:
                rows = np.concatenate((np.zeros_like(rows[:, :1]), rows[:, 1:]), 1)
            return distinct(rows, outlines_of(file.segmentations[mine.start : mine.stop], size_hw)), problems
        objects: list[LabelledObject] = []
        for row in mine:
            try:
                objects.append(_object(file, row, size_hw, rules))
            except BrokenRule as broken:
                rule = f"image id {file.ids[number]}, annotation id {file.object_ids[row]}: {broken.rule}"
                problems.append(Problem(file.file, 0, broken.value, rule))
                if rules.lenient and broken.mended:
                    objects.append(broken.mended)
        return labels_of(objects), problems


def _object(file: CocoFile, row: int, size_hw: tuple[int, int], rules: LabelRules) -> LabelledObject:
    class_id = 0 if rules.single_cls else int(file.class_of[row])
    if class_id == NO_NUMBER:
        raise BrokenRule("the category is none of the classes", f"category id {file.categories[row]}")
    left, top, width, height = file.boxes_xywh[row].tolist()
    found = object_of_corners(class_id, (left, top, width, height), size_hw)
    return replace(found, polygon=outlines_of([file.segmentations[row]], size_hw)[0])


def _rows(file: CocoFile) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of all objects as `object_of_corners` makes them, and which of them obey the rules."""
    left, top, width, height = file.boxes_xywh.T
    down, across = file.sizes_hw[file.image_of].astype(np.float64).T
    with np.errstate(over="ignore", invalid="ignore"):  # boxes may be anything as yet
        box = np.column_stack(((left + width / 2) / across, (top + height / 2) / down, width / across, height / down))
        are_good = (box >= 0).all(1) & (box <= 1).all(1) & (file.class_of != NO_NUMBER)
        return np.column_stack((file.class_of, box)).astype(np.float32), are_good
