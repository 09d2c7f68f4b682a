"""The flags of the report command."""

from __future__ import annotations

from accel_yolo.config.flag import COMMON, Flag, value

REPORT = (
    Flag(("run",), "a run folder; several are compared with each other", "runs", "report", nargs="+"),
    value("--out", "the page to write: RUN/report.html for one run, runs/compare.html for several", "report", "FILE"),
    *(flag for flag in COMMON if flag.name != "--precision"),
)
