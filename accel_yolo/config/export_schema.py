"""The settings of export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accel_yolo.config.rules import Choice, Number, Several, Text
from accel_yolo.config.settings import (
    DEVICE,
    LARGEST_IMGSZ,
    SMALLEST_IMGSZ,
    check_fields,
    count,
    data_files,
    filled,
    flag_of,
    run_name,
    setting,
    share,
    size,
    switch,
    weight_files,
)
from accel_yolo.errors import ConfigError

FORMATS = TORCHSCRIPT, ONNX, OPENVINO = ("torchscript", "onnx", "openvino")
"""What can be written, each with its own runtime to check it."""

LEAST_OPSET, LARGEST_OPSET = 12, 23


@dataclass(frozen=True)
class ExportConfig:
    """Everything an export depends on, apart from the weights themselves."""

    weights: tuple[str, ...] = weight_files(("yolov5s.pt",))
    include: tuple[str, ...] = setting((TORCHSCRIPT,), Several(Choice(FORMATS)))
    imgsz: tuple[int, ...] = setting(
        (640,), Several(Number(whole=True, low=SMALLEST_IMGSZ, high=LARGEST_IMGSZ), least=1, most=2)
    )
    batch: int = count(1, low=1)
    device: str = setting("cpu", DEVICE)
    data: str = setting("", Text())
    half: bool = switch()
    dynamic: bool = switch()
    simplify: bool = switch()
    opset: int = setting(17, Number(whole=True, low=LEAST_OPSET, high=LARGEST_OPSET))
    nms: bool = switch()
    agnostic_nms: bool = switch()
    topk_per_class: int = count(0)
    topk_all: int = count(100, low=1)
    iou_thres: float = share(0.45)
    conf_thres: float = share(0.25)
    exist_ok: bool = switch()
    verbose: bool = switch()
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)


OF_NMS = ("conf_thres", "iou_thres", "topk_per_class", "topk_all", "agnostic_nms")
OF_GRAPHS = ("opset", "simplify")


def require_effect(typed: Mapping[str, Any], config: ExportConfig) -> None:
    """Check that every setting that was typed changes the files that are written.

    Raises:
        ConfigError: it belongs to `--nms` or to a format that was not asked for.
    """
    for name in OF_NMS:
        if name in typed and not config.nms:
            raise ConfigError("no effect without --nms", flag_of(name), typed[name], "add --nms, or leave it out")
    for name in OF_GRAPHS:
        if name in typed and ONNX not in config.include:
            remedy = "add onnx to --include, or leave it out"
            raise ConfigError("no effect on these formats", flag_of(name), " ".join(config.include), remedy)


@dataclass(frozen=True)
class BenchmarkConfig:
    """Everything a comparison of formats depends on, apart from weights and data themselves."""

    weights: str = filled("yolov5s.pt", "a weight file or a release name such as yolov5s.pt")
    data: tuple[str, ...] = data_files()
    include: tuple[str, ...] = setting(FORMATS, Several(Choice(FORMATS)))
    imgsz: int = size(640)
    batch: int = count(1, low=1)
    device: str = setting("cpu", DEVICE)
    half: bool = switch()
    workers: int = setting(8, Number(whole=True, low=0, high=1024))
    test: bool = switch()
    pt_only: bool = switch()
    hard_fail: bool = switch()
    project: str = filled("runs/benchmark", "a folder")
    name: str = run_name()
    exist_ok: bool = switch()
    verbose: bool = switch()
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)
