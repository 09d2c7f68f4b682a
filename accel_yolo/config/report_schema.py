"""The settings of the report command."""

from __future__ import annotations

from dataclasses import dataclass

from accel_yolo.config.rules import Several, Text
from accel_yolo.config.settings import check_fields, flag_of, setting, switch


@dataclass(frozen=True)
class ReportConfig:
    """Runs to report on, and where to."""

    runs: tuple[str, ...] = setting((), Several(Text(empty=False, meaning="a run folder")))
    out: str = setting("", Text(meaning="an HTML file"))
    verbose: bool = switch()
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, lambda name: "the runs" if name == "runs" else flag_of(name))
