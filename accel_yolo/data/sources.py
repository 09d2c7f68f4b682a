"""Which images a split has, and where their labels are: beside them, or in a COCO json."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from accel_yolo.data.formats.coco import CocoLabels
from accel_yolo.data.formats.coco_file import CocoFile, read_coco
from accel_yolo.data.label_paths import VOC, label_path_of
from accel_yolo.data.listing import list_images, regular_stat
from accel_yolo.data.problems import Problem
from accel_yolo.data.scan import COCO
from accel_yolo.errors import DataError, printable

if TYPE_CHECKING:
    from accel_yolo.config.dataset import DataSpec

_TRIED_IMAGES = 20
# "instances_train2017.json" is of the images in train2017.
_PREFIXES = ("instances_", "annotations_", "person_keypoints_")


@dataclass(frozen=True)
class Listing:
    """The images of a split.

    Attributes:
        paths: absolute, sorted as text, each once.
        problems: what could not be searched, and entries that are left out.
        coco: their labels, when they have no label files.
        unusable: images that cannot be used because their entries cannot.
    """

    paths: list[str]
    problems: list[Problem]
    coco: CocoLabels | None = None
    unusable: int = 0


class Source:
    """A split as a data set describes it.

    Args:
        spec: the data set.
        split: "train", "val" or "test".

    Raises:
        DataError: the data set has no such split.
    """

    def __init__(self, spec: DataSpec, split: str) -> None:
        self.spec, self.split = spec, split
        self.places = spec.split(split)
        if not self.places:
            raise DataError("the data set has no such split", printable(str(spec.file)), split, f"add '{split}:' to it")

    @property
    def label_kind(self) -> str:
        """The kind of the label files beside the images; "" when there are none."""
        return "" if self.spec.format == COCO else self.spec.format

    @cached_property
    def state(self) -> str:
        """Size and time of the files that list the images; "" when folders do, which are read each time."""
        if self.spec.format != COCO:
            return ""
        found = [regular_stat(str(place)) for place in self.places]
        return " ".join(f"{each.st_size}:{each.st_mtime_ns}" if each else "-" for each in found)

    @cached_property
    def listing(self) -> Listing:
        """The images.

        Raises:
            DataError: a folder, a list or a json cannot be used.
        """
        if self.spec.format == COCO:
            return _listed_by_coco(self.spec, self.split, self.places)
        return Listing(*list_images(self.places, voc=self.spec.format == VOC))

    @property
    def named(self) -> str:
        """The folders, lists and jsons, for messages."""
        return ", ".join(printable(str(place)) for place in self.places)

    def labels_looked_for(self, image_path: str) -> str:
        """Return where labels were looked for, for messages."""
        if self.spec.format == COCO:
            return self.named
        return printable(os.path.dirname(label_path_of(image_path, self.spec.format)))  # noqa: PTH120


def _listed_by_coco(spec: DataSpec, split: str, places: Sequence[Path]) -> Listing:
    names = tuple(spec.names.values())
    files = [read_coco(place, names) for place in places]
    taken: set[str] = set()
    paths: list[list[str]] = []
    findings = [finding for file in files for finding in file.findings]
    for place, file in zip(places, files, strict=True):
        folder = _folder_of_images(spec, split, place, file)
        mine = [os.path.normpath(os.path.join(folder, name)) for name in file.names]  # noqa: PTH118
        again = [path for path in mine if path in taken]
        if again:
            rule = f"{len(again)} images are in an earlier json too, whose labels count; the first is"
            findings.append(Problem(str(place), 0, again[0], rule, False))
        taken.update(mine)
        paths.append(mine)
    unusable = sum(finding.drops_image for finding in findings)
    return Listing(sorted(taken), findings, CocoLabels.of(tuple(files), paths), unusable)


def _folder_of_images(spec: DataSpec, split: str, place: Path, file: CocoFile) -> str:
    """Return the folder that the file names of a json are relative to: as `images:` says, else where one is found.

    Raises:
        DataError: in none of the usual folders.
    """
    folder, above = place.absolute().parent, place.absolute().parent.parent
    name = place.stem
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    if split in spec.images:
        candidates = [spec.images[split]]
    else:
        bases = list(dict.fromkeys((folder, above, spec.root.absolute())))
        candidates = [base / inner for base in bases for inner in (f"images/{name}", name, "images", ".")]
    # Some of the first images may be missing, and a strange name may be found anywhere.
    tried = [name for name in map(os.path.normpath, file.names[:_TRIED_IMAGES]) if not name.startswith(("..", os.sep))]
    hits = [sum(regular_stat(str(candidate / name)) is not None for name in tried) for candidate in candidates]
    if max(hits, default=0) or not tried:
        return os.path.normpath(candidates[hits.index(max(hits))])
    looked = ", ".join(printable(os.path.normpath(candidate)) for candidate in candidates)
    remedy = f"write the folder that file_name is relative to as `images:` into {printable(str(spec.file))}"
    raise DataError(
        "the images are not there", printable(str(place)), f"{file.names[0]}, looked for in {looked}", remedy
    )
