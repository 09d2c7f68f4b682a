"""The splits of a run: the images that the user chose, with the classes that the user chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from accel_yolo.config.data_union import DataUnion
from accel_yolo.config.dataset import DataSpec
from accel_yolo.data.index import build_index
from accel_yolo.data.resplit import split_by_content
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.data.subsets import joined, some_classes, some_images, some_share
from accel_yolo.errors import DataError


@dataclass(frozen=True)
class SplitOptions:
    """How splits are read.

    Attributes:
        single_cls: all classes become 0.
        bad_data: see `build_index`.
        workers: see `build_index`.
        classes: only objects of these are kept; () keeps all.
        renumbered: the classes that are kept get the numbers 0, 1, ...; otherwise they keep theirs.
        fraction: share of the training images.
        seed: draws that share.
    """

    single_cls: bool
    bad_data: str
    workers: int
    classes: tuple[int, ...] = ()
    renumbered: bool = True
    fraction: float = 1.0
    seed: int = 0


def kept_names(names: dict[int, str], options: SplitOptions) -> dict[int, str]:
    """Return the classes that are left, numbered as labels are; with `single_cls` "item", unless there is only one."""
    if options.classes and options.renumbered:
        names = dict(enumerate(names[number] for number in options.classes))
    return {0: "item"} if options.single_cls and len(names) != 1 else names


def open_splits(union: DataUnion, splits: Sequence[str], options: SplitOptions) -> dict[str, SplitIndex]:
    """Return the index of each of some splits. Raises DataError, see `build_index`."""
    found: dict[str, list[SplitIndex]] = {split: [] for split in splits}
    for spec in union.specs:
        for split, index in _indices_of(spec, splits, options).items():
            several = len(union.specs) > 1 and not _all_are_one(options)
            found[split].append(some_classes(index, union.numbers_of(spec)) if several else index)
    return {split: _chosen(joined(parts), split, union, options) for split, parts in found.items()}


def parted(index: SplitIndex, held_out: float) -> dict[str, SplitIndex]:
    """Return the images of a data set without a validation split as two: those to train on, and those held out.

    The parts are those of `split_by_content` with seed 0, whatever the seed of a run, so that runs can be compared;
    at least one image is held out.

    Raises:
        DataError: nothing is left to train on.
    """
    parts = split_by_content(index, {"train": 1 - held_out, "val": max(held_out, 1 / len(index))}, seed=0)
    if not len(parts["train"]):
        what = f"{len(index)} images" if len(index) == 1 else f"{len(index)} images, all alike"
        raise DataError("too few images to hold some out for validation", index.paths[0], what, "add images")
    train, val = (some_images(index, parts[split]) for split in ("train", "val"))
    # What was left out is told once.
    return {"train": train, "val": replace(val, counts=replace(val.counts, dropped=0, duplicates_removed=0))}


def _all_are_one(options: SplitOptions) -> bool:
    """Return whether all classes become 0 as they are read; a class that is left out must still be known."""
    return options.single_cls and not options.classes


def _indices_of(spec: DataSpec, splits: Sequence[str], options: SplitOptions) -> dict[str, SplitIndex]:
    def built(split: str) -> SplitIndex:
        at_once = _all_are_one(options)
        return build_index(spec, split, single_cls=at_once, bad_data=options.bad_data, workers=options.workers)

    wanted = [split for split in splits if split in ("train", "val")] if spec.held_out else []
    parts = parted(built("train"), spec.held_out) if wanted else {}
    return {split: parts[split] if split in wanted else built(split) for split in splits}


def _chosen(index: SplitIndex, split: str, union: DataUnion, options: SplitOptions) -> SplitIndex:
    if options.classes:
        index = some_classes(index, [_number(number, options) for number in union.names])
    return some_share(index, options.fraction, options.seed) if split == "train" else index


def _number(number: int, options: SplitOptions) -> int | None:
    if number not in options.classes:
        return None
    if options.single_cls:
        return 0
    return options.classes.index(number) if options.renumbered else number
