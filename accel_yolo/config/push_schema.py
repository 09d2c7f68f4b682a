"""The settings of the push command."""

from __future__ import annotations

from dataclasses import dataclass

from accel_yolo.config.rules import Text
from accel_yolo.config.settings import check_fields, filled, flag_of, setting, switch
from accel_yolo.errors import ConfigError

_LICENCE = Text(
    pattern=r"([A-Za-z0-9][A-Za-z0-9.+-]*)?", meaning="the short name of a licence, such as apache-2.0 or cc-by-4.0"
)


@dataclass(frozen=True)
class PushConfig:
    """What to give away, and where."""

    source: str = filled("", "a run folder, a weights file, or a folder that --into wrote")
    to: str = setting("", Text(meaning="a repository, such as org/name"))
    into: str = setting("", Text(meaning="a folder"))
    private: bool = switch()
    message: str = setting("", Text(meaning="the message of the commit"))
    metrics: str = setting("", Text(meaning="a metrics.json, or the folder of a validation"))
    license: str = setting("", _LICENCE)
    verbose: bool = switch()
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, lambda name: "the source" if name == "source" else flag_of(name))
        if not self.to and not self.into:
            remedy = "give --to org/name, or --into FOLDER to look before uploading"
            raise ConfigError("nowhere to put it", "the command line", remedy=remedy)
        if not self.to and (self.private or self.message):
            flag = "--private" if self.private else "--message"
            raise ConfigError("this is about a repository, and none is named", flag, remedy="give --to org/name")
