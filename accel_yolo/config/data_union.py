"""One or several data YAMLs as one data set: their classes are put together by name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accel_yolo.config.dataset import DataSpec, load_data_spec
from accel_yolo.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class DataUnion:
    """Data sets that are used as one.

    Attributes:
        specs: each of them.
        names: number to name of all classes: those of the first, then what the others add.
    """

    specs: tuple[DataSpec, ...]
    names: dict[int, str]

    @property
    def files(self) -> str:
        """The data YAMLs, for messages."""
        return ", ".join(str(spec.file) for spec in self.specs)

    @property
    def label(self) -> str:
        """The names of the data YAMLs, for what is written about weights."""
        return " and ".join(spec.file.name for spec in self.specs)

    @property
    def root(self) -> Path:
        """The folder that all of them lie in."""
        return Path(os.path.commonpath([spec.root.absolute() for spec in self.specs]))

    @property
    def is_coco(self) -> bool:
        """Whether the validation split is COCO val2017 and nothing else."""
        return len(self.specs) == 1 and self.specs[0].is_coco

    def numbers_of(self, spec: DataSpec) -> tuple[int, ...]:
        """Return the number here of each class of one of the data sets."""
        numbers = {name: number for number, name in self.names.items()}
        return tuple(numbers[spec.names[number]] for number in range(len(spec.names)))


def load_data_union(
    names_or_paths: Sequence[str], splits: tuple[str, ...] | None = ("train", "val"), *, complete: bool = True
) -> DataUnion:
    """Return some data sets as one; see `load_data_spec` for arguments and errors."""
    specs = tuple(load_data_spec(each, splits, complete=complete) for each in names_or_paths)
    if len(specs) == 1:
        return DataUnion(specs, specs[0].names)
    for spec in specs:
        twice = [name for name in spec.names.values() if list(spec.names.values()).count(name) > 1]
        if twice:
            remedy = "several data sets are put together by the names of classes: give each its own"
            raise ConfigError("a class name comes twice", str(spec.file), twice[0], remedy)
    names = dict.fromkeys(name for spec in specs for name in spec.names.values())
    return DataUnion(specs, dict(enumerate(names)))


def chosen_classes(names: Mapping[int, str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of the classes that the user names, by name or by number, in rising order.

    Raises:
        ConfigError: there is no such class.
    """
    numbers = {name: number for number, name in names.items()}
    chosen = set()
    for text in wanted:
        if text in numbers:
            chosen.add(numbers[text])
        elif text.isdecimal() and int(text) in names:
            chosen.add(int(text))
        else:
            remedy = did_you_mean(text, numbers) or f"there are {len(names)} classes, 0 to {len(names) - 1}"
            raise ConfigError("no such class", "--classes", text, remedy)
    return tuple(sorted(chosen))
