"""The flags of validation."""

from __future__ import annotations

from accel_yolo.config.flag import (
    COMMON,
    Flag,
    data_files,
    half,
    later,
    looking,
    run_folder,
    switch,
    value,
    weight_files,
)
from accel_yolo.config.launch_flags import LAUNCH

_WHAT, _HOW, _WHERE, _OUTPUT = "model and data", "evaluation", "processes", "output"
_STUDY = "timing and size studies are a later capability: run --task val with the sizes you want"
_LABEL_FILES = "label files from val are a later capability: use detect --save-txt"

VAL = (
    weight_files(_WHAT),
    *data_files(_WHAT, "measure these classes only, by name or number"),
    Flag(
        ("--task",),
        "the split: val, train or test",
        "task",
        _WHAT,
        later_values={"speed": _STUDY, "study": _STUDY},
    ),
    Flag(
        ("--batch", "--batch-size"),
        "images per forward pass of a process; metrics do not depend on it",
        "batch",
        _HOW,
    ),
    value("--imgsz|--img|--img-size", "longest side of the network input in pixels", _HOW),
    value("--conf-thres|--conf", "least confidence of a detection", _HOW),
    value("--iou-thres|--iou", "overlap above which the weaker of two boxes is dropped", _HOW),
    *looking(_HOW),
    value("--max-det", "most detections per image", _HOW),
    switch("--dnn", "let OpenCV run an ONNX file", _HOW),
    switch("--single-cls", "treat all classes as one", _HOW),
    value("--bad-data", "limit: stop above 5 %% bad images; drop: leave all out; fail: stop at the first", _HOW),
    *LAUNCH,
    value("--workers", "data workers per process", _WHERE),
    half(),
    *run_folder("runs/val"),
    switch("--save-json", "write the detections in COCO's format and measure COCO's mAP", _OUTPUT),
    switch("--verbose", "one line per class", _OUTPUT),
    *COMMON,
    later("--save-txt", _LABEL_FILES),
    later("--save-hybrid", _LABEL_FILES),
    later("--save-conf", _LABEL_FILES),
)
