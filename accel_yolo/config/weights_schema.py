"""The settings of the commands about weight files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from accel_yolo.config.rules import Choice, Text
from accel_yolo.config.settings import check_fields, filled, flag_of, setting, switch
from accel_yolo.errors import ConfigError

WEIGHT_FORMATS = {"safetensors": ".safetensors", "yolov5-pt": ".pt"}
"""What `convert` writes, and how the names of such files end."""

_PLACES = {"source": "the source", "destination": "the destination", "file": "the file"}


@dataclass(frozen=True)
class ConvertConfig:
    """A weight file and what to make of it."""

    source: str = filled("", "the weight file to read")
    destination: str = setting("", Text(meaning="the weight file to write"))
    to: str = setting("auto", Choice(("auto", *WEIGHT_FORMATS)))
    verbose: bool = switch()
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, lambda name: _PLACES.get(name, flag_of(name)))
        if not self.destination:
            if self.to == "auto":
                remedy = f"name a file to write, or give --to {' or '.join(WEIGHT_FORMATS)}"
                raise ConfigError("nothing says what to convert to", "the command line", remedy=remedy)
            return
        suffix = PurePath(self.destination).suffix
        by_suffix = {ending: name for name, ending in WEIGHT_FORMATS.items()}
        if suffix not in by_suffix or self.to not in ("auto", by_suffix[suffix]):
            endings = list(by_suffix) if self.to == "auto" else [WEIGHT_FORMATS[self.to]]
            what = "cannot convert to this kind of file"
            if self.to != "auto":
                what = f"--to {self.to} writes another kind of file"
            remedy = f"give a name that ends in {' or '.join(endings)}"
            raise ConfigError(what, "the destination", self.destination, remedy)

    @property
    def format(self) -> str:
        """The format to write: that of --to, else that of the destination's name."""
        if self.to != "auto":
            return self.to
        return next(name for name, end in WEIGHT_FORMATS.items() if end == PurePath(self.destination).suffix)


@dataclass(frozen=True)
class InfoWeightsConfig:
    """A weight file to describe."""

    file: str = filled("", "a weight file or a release name such as yolov5s.pt")
    json: bool = switch()
    verbose: bool = switch()
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, lambda name: _PLACES.get(name, flag_of(name)))
