"""The flags of validation."""

from __future__ import annotations

from accel_yolo.config.flag import (
    PRECISION,
    Flag,
    data_files,
    half,
    looking,
    run_folder,
    spoken,
    switch,
    value,
    weight_files,
)
from accel_yolo.config.launch_flags import LAUNCH

_WHAT, _HOW, _WHERE, _OUTPUT = "model and data", "evaluation", "processes", "output"

VAL = (
    weight_files(_WHAT),
    *data_files(_WHAT, "measure these classes only, by name or number"),
    value("--task", "val, train, test: the split; speed: how fast; study: accuracy and speed over image sizes", _WHAT),
    Flag(
        ("--batch", "--batch-size"),
        "images per forward pass of a process; metrics do not depend on it",
        "batch",
        _HOW,
    ),
    Flag(
        ("--imgsz", "--img", "--img-size"),
        "longest side of the network input in pixels; several with --task study",
        "imgsz",
        _HOW,
        nargs="+",
        metavar="PX",
    ),
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
    switch("--save-txt", "write a label file of the detections in each image", _OUTPUT),
    switch("--save-hybrid", "as --save-txt, the labels among the detections; metrics then mean nothing", _OUTPUT),
    switch("--save-conf", "add the confidence to the label files", _OUTPUT),
    value("--worst", "images with the most mistakes to show (default 16; 0 shows none)", _OUTPUT, "N"),
    switch("--noplots", "no pictures, only tables", _OUTPUT),
    PRECISION,
    *spoken("a line for each class, however many"),
)
