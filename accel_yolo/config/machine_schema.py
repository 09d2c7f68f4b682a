"""The settings of the commands about this installation."""

from __future__ import annotations

from dataclasses import dataclass

from accel_yolo.config.rules import Choice
from accel_yolo.config.settings import check_fields, flag_of, setting, switch

SHELLS = ("bash", "zsh", "fish", "powershell")


@dataclass(frozen=True)
class EnvConfig:
    """How what is known of this machine is told."""

    json: bool = switch()
    verbose: bool = switch()
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)


@dataclass(frozen=True)
class CompletionConfig:
    """A shell to write a completion script for."""

    shell: str = setting("bash", Choice(SHELLS))
    verbose: bool = switch()
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)
