"""The settings of the commands about weight files."""

from __future__ import annotations

from dataclasses import dataclass

from accel_yolo.config.settings import check_fields, filled, flag_of, switch


@dataclass(frozen=True)
class ConvertConfig:
    """A weight file and what to make of it."""

    source: str = filled("", "the weight file to read")
    destination: str = filled("", "the weight file to write")
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, lambda name: f"the {name}" if name != "debug" else flag_of(name))
