"""The settings of validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from accel_yolo.config.rules import Choice, Number, Several
from accel_yolo.config.settings import (
    DEVICE,
    LARGEST_IMGSZ,
    SMALLEST_IMGSZ,
    bad_data_choice,
    check_fields,
    class_choice,
    count,
    data_files,
    filled,
    flag_of,
    fusion_choice,
    precision_choice,
    run_name,
    setting,
    share,
    switch,
    weight_files,
)
from accel_yolo.errors import ConfigError

SPLITS = ("val", "train", "test")
SPEED, STUDY = "speed", "study"
TASK_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    SPEED: {"conf_thres": 0.25, "iou_thres": 0.45},
    STUDY: {"imgsz": tuple(range(256, 1537, 128))},
}
"""Task -> what it takes where the user says nothing."""


@dataclass(frozen=True)
class ValConfig:
    """Everything a validation depends on, apart from data and weights themselves."""

    data: tuple[str, ...] = data_files()
    classes: tuple[str, ...] = class_choice()
    weights: tuple[str, ...] = weight_files(("yolov5s.pt",))
    batch: int = count(32, low=1)
    imgsz: tuple[int, ...] = setting((640,), Several(Number(whole=True, low=SMALLEST_IMGSZ, high=LARGEST_IMGSZ)))
    conf_thres: float = share(0.001)
    iou_thres: float = share(0.6)
    max_det: int = count(300, low=1)
    task: str = setting("val", Choice((*SPLITS, SPEED, STUDY)))
    device: str = setting("", DEVICE)
    workers: int = setting(8, Number(whole=True, low=0, high=1024))
    single_cls: bool = switch()
    verbose: bool = switch()
    save_json: bool = switch()
    save_txt: bool = switch()
    save_hybrid: bool = switch()
    save_conf: bool = switch()
    worst: int = count(16)
    noplots: bool = switch()
    project: str = filled("runs/val", "a folder")
    name: str = run_name()
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
        if len(self.imgsz) > 1 and self.task != STUDY:
            sizes = " ".join(map(str, self.imgsz))
            raise ConfigError("several image sizes", "--imgsz", sizes, "--task study compares them")

        for name in ("save_txt", "save_hybrid", "save_json"):
            if self.task == STUDY and getattr(self, name):
                place = f"--task study and {flag_of(name)}"
                raise ConfigError("a study writes no detections", place, remedy="leave out one of them")

    @property
    def split(self) -> str:
        """The split that is measured: that of validation where the task is none."""
        return self.task if self.task in SPLITS else "val"

    @property
    def side_px(self) -> int:
        """The image size, where there is only one."""
        return self.imgsz[0]
