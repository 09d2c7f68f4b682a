"""The settings of prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from accel_yolo.config.rules import Number, Several, Text
from accel_yolo.config.settings import (
    DEVICE,
    LARGEST_IMGSZ,
    SMALLEST_IMGSZ,
    check_fields,
    class_choice,
    count,
    filled,
    flag_of,
    fusion_choice,
    precision_choice,
    real,
    run_name,
    setting,
    share,
    switch,
    weight_files,
)
from accel_yolo.errors import ConfigError

MOST_OVERLAP = 0.9
TRACKERS = ("bytetrack", "botsort", "ocsort", "sort")
JSON_KINDS = ("images", "coco")


@dataclass(frozen=True)
class PredictConfig:
    """Everything a prediction depends on, apart from images and weights themselves."""

    weights: tuple[str, ...] = weight_files(("yolov5s.pt",))
    source: str = filled("data/images", "an image, a video, a folder, a glob, a list, a URL or a camera number")
    data: str = setting("", Text())
    imgsz: tuple[int, ...] = setting(
        (640,), Several(Number(whole=True, low=SMALLEST_IMGSZ, high=LARGEST_IMGSZ), least=1, most=2)
    )
    conf_thres: float = share(0.25)
    iou_thres: float = share(0.45)
    max_det: int = count(1000, low=1)
    device: str = setting("", DEVICE)
    batch: int = count(1, low=1)
    vid_stride: int = count(1, low=1)
    stream_timeout: float = real(60.0, above=0)
    save_txt: bool = switch()
    save_format: int = setting(0, Number(whole=True, low=0, high=1))
    save_conf: bool = switch()
    save_crop: bool = switch()
    save_csv: bool = switch()
    save_json: str = setting("", Text(pattern=f"({'|'.join(JSON_KINDS)})?", meaning="images or coco"))
    nosave: bool = switch()
    classes: tuple[str, ...] = class_choice()
    agnostic_nms: bool = switch()
    project: str = filled("runs/detect", "a folder")
    name: str = run_name()
    exist_ok: bool = switch()
    line_thickness: int = count(3, low=1)
    hide_labels: bool = switch()
    hide_conf: bool = switch()
    tile: int | None = setting(None, Number(whole=True, low=SMALLEST_IMGSZ, high=LARGEST_IMGSZ, optional=True))
    overlap: float = real(0.2, low=0, high=MOST_OVERLAP)
    tiles_only: bool = switch()
    track: str = setting("", Text(pattern=f"({'|'.join(TRACKERS)})?", meaning=f"one of {', '.join(TRACKERS)}"))
    augment: bool = switch()
    dnn: bool = switch()
    fusion: Literal["nms", "wbf"] = fusion_choice()
    precision: str = precision_choice()
    view_img: bool = switch()
    visualize: bool = switch()
    verbose: bool = switch()
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)
        if self.tile is None and (self.overlap, self.tiles_only) != (0.2, False):
            value = "--tiles-only" if self.tiles_only else f"--overlap {self.overlap:g}"
            raise ConfigError("only tiles have an overlap or are alone", value=value, remedy="give --tile 640 too")
