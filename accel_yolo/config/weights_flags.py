"""The flags of the commands about weight files."""

from __future__ import annotations

from accel_yolo.config.flag import Flag, switch

CONVERT = (
    Flag(("source",), "the weight file to read (.pt or .safetensors)", "source", "files"),
    Flag(("destination",), "the weight file to write (.safetensors)", "destination", "files"),
    switch("--debug", "show the traceback of an error", "output"),
)
