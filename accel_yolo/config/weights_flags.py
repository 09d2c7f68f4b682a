"""The flags of the commands about weight files."""

from __future__ import annotations

from accel_yolo.config.flag import Flag, spoken, switch, value

CONVERT = (
    Flag(("source",), "the weight file to read (.pt or .safetensors)", "source", "files"),
    Flag(
        ("destination",), "the weight file to write; beside the source when left out", "destination", "files", nargs="?"
    ),
    value("--to", "safetensors, or yolov5-pt for YOLOv5's own programs; the destination's name says it too", "files"),
    *spoken(),
)

INFO_WEIGHTS = (
    Flag(("file",), "a weight file (.safetensors or .pt), or the name of a published one", "file", "files"),
    switch("--json", "print one JSON object, for programs", "output"),
    *spoken(),
)
