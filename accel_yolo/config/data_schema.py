"""Settings of the commands that look at data sets, convert and split them."""

from __future__ import annotations

from dataclasses import dataclass

from accel_yolo.config.rules import Choice, Number, Several, Text
from accel_yolo.config.settings import check_fields, class_choice, count, filled, flag_of, real, setting, size, switch

_NEW = "a new folder: --into FOLDER"


@dataclass(frozen=True)
class _OfData:
    """What all of them ask."""

    data: str = filled("coco128", "a data YAML or the name of a shipped one")
    splits: tuple[str, ...] = setting((), Several(Choice(("train", "val", "test")), least=0))
    workers: int = count(8)
    verbose: bool = switch()
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)


@dataclass(frozen=True)
class DataConvertConfig(_OfData):
    """A data set and the format that it is written in."""

    to: str = setting("yolo", Choice(("yolo", "coco", "voc")))
    into: str = filled("", _NEW)
    classes: tuple[str, ...] = class_choice()
    copy: bool = switch()


@dataclass(frozen=True)
class DataCheckConfig(_OfData):
    """A data set whose problems are listed."""

    repair: str = setting("", Text())
    list: str = setting("", Text())


@dataclass(frozen=True)
class DataSplitConfig(_OfData):
    """A data set that is split anew."""

    into: str = filled("", _NEW)
    val: float = real(0.2, above=0, below=1)
    test: float = real(0.0, low=0, below=1)
    seed: int = setting(0, Number(whole=True, low=0, high=2**63 - 1))


@dataclass(frozen=True)
class DataStatsConfig(_OfData):
    """A data set that is counted and measured."""

    imgsz: int = size(640)
    into: str = setting("", Text())


@dataclass(frozen=True)
class DataShowConfig(_OfData):
    """A data set that is drawn."""

    classes: tuple[str, ...] = class_choice()
    images: int = count(16, low=1)
    columns: int = count(4, low=1)
    tile: int = size(320)
    seed: int = setting(0, Number(whole=True, low=0, high=2**63 - 1))
    into: str = filled("runs/data", "a folder")
