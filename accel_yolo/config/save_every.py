"""`--save-every`: how often a run is saved, by time, steps or epochs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from accel_yolo.errors import ConfigError

_SECONDS = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0}
_UNITS = {"step": "step", "steps": "step", "epoch": "epoch", "epochs": "epoch", **dict.fromkeys(_SECONDS, "s")}
_FORM = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([a-z]+)")


@dataclass(frozen=True)
class SaveEvery:
    """How often; one of the three is not 0.

    Attributes:
        seconds: of time.
        steps: of the run.
        epochs: of the run. Besides their checkpoints there are no others.
    """

    seconds: float = 0.0
    steps: int = 0
    epochs: int = 0

    @classmethod
    def of(cls, text: str) -> SaveEvery | None:
        """Return what a text such as "15min" says; None where it says nothing that makes sense."""
        found = _FORM.fullmatch(text.strip()) if text.isascii() else None
        if found is None or found[2] not in _UNITS:
            return None
        number, unit = float(found[1]), _UNITS[found[2]]
        if number <= 0 or (unit != "s" and not number.is_integer()):
            return None
        if unit == "s":
            return cls(seconds=number * _SECONDS[found[2]])
        return cls(steps=int(number)) if unit == "step" else cls(epochs=int(number))


@dataclass(frozen=True)
class Interval:
    """The rule for such a text."""

    @property
    def words(self) -> str:
        """What is accepted."""
        return "a time, steps or epochs, such as 15min, 90s, 2h, 500steps or 1epoch"

    def checked(self, value: Any, where: str) -> str:
        """Return the text."""
        if not isinstance(value, str) or SaveEvery.of(value) is None:
            shown = value if isinstance(value, str) and value.strip() else repr(value)
            raise ConfigError("wrong value", where, shown, f"give {self.words}")
        return value.strip()

    def from_text(self, text: str, where: str) -> str:
        """Return the text."""
        return self.checked(text, where)
