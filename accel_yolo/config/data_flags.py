"""The flags of the commands that look at data sets, convert and split them."""

from __future__ import annotations

from accel_yolo.config.flag import Flag, spoken, switch, value

_WHAT, _HOW, _OUTPUT = "data", "how", "output"
_COMMON = (
    value("--workers", "processes that verify the data", _HOW),
    *spoken(),
)
_DATA = (
    value("--data", "data YAML, name of a shipped one, folder or COCO json", _WHAT, "FILE"),
    Flag(
        ("--splits", "--split"),
        "of these splits (default: all that there are)",
        "splits",
        _WHAT,
        nargs="+",
        metavar="SPLIT",
    ),
)
_CLASSES = Flag(("--classes",), "these classes only, by name or number", "classes", _WHAT, nargs="+", metavar="CLASS")
_INTO = "a new folder for what is written"

DATA_CONVERT = (
    *_DATA,
    _CLASSES,
    value("--to", "yolo, coco or voc", _HOW, "FORMAT"),
    value("--into", _INTO, _OUTPUT, "FOLDER"),
    switch("--copy", "copy the images; otherwise they are hard links where the file system has them", _OUTPUT),
    *_COMMON,
)

DATA_CHECK = (
    *_DATA,
    value("--list", "write all findings into this CSV file", _OUTPUT, "FILE"),
    value("--repair", "write a copy without what is wrong into this new folder", _OUTPUT, "FOLDER"),
    *_COMMON,
)

DATA_SPLIT = (
    *_DATA,
    value("--val", "share of the images for validation", _HOW),
    value("--test", "share of the images for the test split", _HOW),
    value("--seed", "another seed, another split", _HOW),
    value("--into", _INTO, _OUTPUT, "FOLDER"),
    *_COMMON,
)

DATA_STATS = (
    *_DATA,
    value("--imgsz|--img|--img-size", "image size at which objects are called small, medium and large", _HOW),
    value("--into", "write stats.json and a picture of each split into this new folder", _OUTPUT, "FOLDER"),
    *_COMMON,
)

DATA_SHOW = (
    *_DATA,
    _CLASSES,
    value("--images", "images of each split, drawn by the seed", _HOW, "N"),
    value("--columns", "images side by side", _HOW, "N"),
    value("--tile", "side of each in px", _HOW, "PX"),
    value("--seed", "another seed, other images", _HOW),
    value("--into", "folder of the pictures", _OUTPUT, "FOLDER"),
    *_COMMON,
)
