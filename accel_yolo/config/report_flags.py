"""The flags of the report command."""

from __future__ import annotations

from accel_yolo.config.flag import Flag, spoken, value

REPORT = (
    Flag(("run",), "a run folder; several are compared with each other", "runs", "report", nargs="+", metavar="FOLDER"),
    value(
        "--out",
        "the page to write; else report.html in the folder of the run, runs/compare.html for several",
        "report",
        "FILE",
    ),
    *spoken(),
)
