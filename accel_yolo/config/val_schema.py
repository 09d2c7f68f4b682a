"""The settings of validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from accel_yolo.config.rules import Choice, Number
from accel_yolo.config.settings import (
    DEVICE,
    bad_data_choice,
    check_fields,
    class_choice,
    count,
    data_files,
    filled,
    flag_of,
    fusion_choice,
    precision_choice,
    setting,
    share,
    size,
    switch,
    weight_files,
)


@dataclass(frozen=True)
class ValConfig:
    """Everything a validation depends on, apart from data and weights themselves."""

    data: tuple[str, ...] = data_files()
    classes: tuple[str, ...] = class_choice()
    weights: tuple[str, ...] = weight_files(("yolov5s.pt",))
    batch: int = count(32, low=1)
    imgsz: int = size(640)
    conf_thres: float = share(0.001)
    iou_thres: float = share(0.6)
    max_det: int = count(300, low=1)
    task: str = setting("val", Choice(("val", "train", "test")))
    device: str = setting("", DEVICE)
    workers: int = setting(8, Number(whole=True, low=0, high=1024))
    single_cls: bool = switch()
    verbose: bool = switch()
    save_json: bool = switch()
    project: str = filled("runs/val", "a folder")
    name: str = filled("exp", "a folder name")
    exist_ok: bool = switch()
    augment: bool = switch()
    dnn: bool = switch()
    fusion: Literal["nms", "wbf"] = fusion_choice()
    precision: str = precision_choice()
    bad_data: str = bad_data_choice()
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)
