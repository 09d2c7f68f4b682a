"""The splits of a run: the images that the user chose, with the classes that the user chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accel_yolo.config.data_union import DataUnion
from accel_yolo.data.index import build_index
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.data.subsets import joined, some_classes, some_share


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
    return {split: _open_split(union, split, options) for split in splits}


def _open_split(union: DataUnion, split: str, options: SplitOptions) -> SplitIndex:
    # A class that is left out must still be known.
    at_once = options.single_cls and not options.classes
    parts = []
    for spec in union.specs:
        part = build_index(spec, split, single_cls=at_once, bad_data=options.bad_data, workers=options.workers)
        if not at_once and len(union.specs) > 1:
            part = some_classes(part, union.numbers_of(spec))
        parts.append(part)
    index = joined(parts)
    if options.classes:
        index = some_classes(index, [_number(number, options) for number in union.names])
    return some_share(index, options.fraction, options.seed) if split == "train" else index


def _number(number: int, options: SplitOptions) -> int | None:
    if number not in options.classes:
        return None
    if options.single_cls:
        return 0
    return options.classes.index(number) if options.renumbered else number
