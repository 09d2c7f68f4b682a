"""The flags of export: known by name, all of them of a later capability."""

from __future__ import annotations

from accel_yolo.config.flag import Flag, later

UNAVAILABLE = "export is a later capability: `accel-yolo convert` writes .safetensors weights meanwhile"

_SWITCHES = (
    "--half",
    "--inplace",
    "--keras",
    "--optimize",
    "--int8",
    "--per-tensor",
    "--dynamic",
    "--simplify",
    "--mlmodel",
    "--verbose",
    "--nms",
    "--agnostic-nms",
)
_VALUES = (
    "--data",
    "--batch|--batch-size",
    "--device",
    "--cache",
    "--opset",
    "--workspace",
    "--topk-per-class",
    "--topk-all",
    "--iou-thres|--iou",
    "--conf-thres|--conf",
)
_LISTS = ("--weights", "--imgsz|--img|--img-size", "--include")

EXPORT: tuple[Flag, ...] = (
    *(later(spelling, UNAVAILABLE, "+") for spelling in _LISTS),
    *(later(spelling, UNAVAILABLE, None) for spelling in _VALUES),
    *(later(spelling, UNAVAILABLE) for spelling in _SWITCHES),
)
