"""Settings of the commands that look at data sets, convert and split them."""

from __future__ import annotations

from dataclasses import dataclass

from accel_yolo.config.rules import Choice, Number, Several, Text
from accel_yolo.config.settings import check_fields, class_choice, count, filled, flag_of, real, setting, size, switch

_SPLITS = Several(Choice(("train", "val", "test")), least=0)


def _data() -> str:
    return filled("coco128", "a data YAML or the name of a shipped one")


@dataclass(frozen=True)
class DataConvertConfig:
    """A data set and the format that it is written in."""

    data: str = _data()
    to: str = setting("yolo", Choice(("yolo", "coco", "voc")))
    into: str = filled("", "a new folder: --into FOLDER")
    splits: tuple[str, ...] = setting((), _SPLITS)
    classes: tuple[str, ...] = class_choice()
    copy: bool = switch()
    workers: int = count(8)
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)


@dataclass(frozen=True)
class DataCheckConfig:
    """A data set whose problems are listed."""

    data: str = _data()
    splits: tuple[str, ...] = setting((), _SPLITS)
    repair: str = setting("", Text())
    list: str = setting("", Text())
    workers: int = count(8)
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)


@dataclass(frozen=True)
class DataSplitConfig:
    """A data set that is split anew."""

    data: str = _data()
    into: str = filled("", "a new folder: --into FOLDER")
    splits: tuple[str, ...] = setting((), _SPLITS)
    val: float = real(0.2, above=0, below=1)
    test: float = real(0.0, low=0, below=1)
    seed: int = setting(0, Number(whole=True, low=0, high=2**63 - 1))
    workers: int = count(8)
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)


@dataclass(frozen=True)
class DataStatsConfig:
    """A data set that is counted and measured."""

    data: str = _data()
    splits: tuple[str, ...] = setting((), _SPLITS)
    imgsz: int = size(640)
    into: str = setting("", Text())
    workers: int = count(8)
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)


@dataclass(frozen=True)
class DataShowConfig:
    """A data set that is drawn."""

    data: str = _data()
    splits: tuple[str, ...] = setting((), _SPLITS)
    classes: tuple[str, ...] = class_choice()
    images: int = count(16, low=1)
    columns: int = count(4, low=1)
    tile: int = size(320)
    seed: int = setting(0, Number(whole=True, low=0, high=2**63 - 1))
    into: str = filled("runs/data", "a folder")
    workers: int = count(8)
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)
