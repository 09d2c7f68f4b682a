"""What a value may be: one rule per setting, used for flags (text) and YAML files (typed values) alike."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Any, Protocol

from accel_yolo.errors import ConfigError, did_you_mean

_IN_YAML = {"True": "true", "False": "false", "None": "nothing"}
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")


class Rule(Protocol):
    """Turns a raw value into the value of a setting, or raises ConfigError."""

    @property
    def words(self) -> str:
        """What is accepted, in words that complete "give ..."."""
        ...

    def checked(self, value: Any, where: str) -> Any:
        """Return `value` (from YAML or Python) as the setting holds it."""
        ...

    def from_text(self, text: str, where: str) -> Any:
        """Return the value that `text` (from the command line) stands for."""
        ...


def _refuse(value: Any, where: str, words: str, hint: str = "") -> ConfigError:
    shown = value if isinstance(value, str) and value.strip() else _IN_YAML.get(repr(value)) or repr(value)
    return ConfigError("wrong value", where, shown, f"{hint + ' ' if hint else ''}give {words}")


@dataclass(frozen=True)
class Number:
    """A finite number within bounds; with `whole`, an integer; with `optional`, None is allowed as well."""

    whole: bool = False
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    optional: bool = False

    @property
    def words(self) -> str:
        """What is accepted."""
        kind = "a whole number" if self.whole else "a number"
        if self.low is not None and self.high is not None:
            return f"{kind} from {self.low} to {self.high}"
        limits = (("of at least", self.low), ("above", self.above), ("of at most", self.high), ("below", self.below))
        return " ".join([kind, " and ".join(f"{word} {limit}" for word, limit in limits if limit is not None)]).strip()

    def checked(self, value: Any, where: str) -> Any:
        """Return the number, a float unless `whole`."""
        if value is None and self.optional:
            return None
        accepted = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, accepted) or not self._within(value):
            raise _refuse(value, where, self.words)
        return value if self.whole else float(value)

    def from_text(self, text: str, where: str) -> Any:
        """Return the number written in `text`."""
        plain = text.strip()
        try:
            # int and float of Python also take 1_000 and digits of other scripts.
            if "_" in plain or not plain.isascii() or (self.whole and not _INTEGER.fullmatch(plain)):
                raise ValueError(plain)
            value = int(plain) if self.whole else float(plain)
        except ValueError:
            raise _refuse(text, where, self.words) from None
        if not self._within(value):
            raise _refuse(text, where, self.words)
        return value

    def _within(self, value: float) -> bool:
        return (
            abs(value) <= sys.float_info.max
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


AUTO_BATCH = -1
"""The batch that stands for one that is yet to be chosen."""


@dataclass(frozen=True)
class BatchSize:
    """Images of a batch, or `AUTO_BATCH`, which "auto" means as well."""

    number: Number = Number(whole=True, low=1)

    @property
    def words(self) -> str:
        """What is accepted."""
        return f"{self.number.words}, or -1 (auto) to have it chosen"

    def checked(self, value: Any, where: str) -> int:
        """Return the number."""
        if value == "auto" or (value == AUTO_BATCH and isinstance(value, int)):
            return AUTO_BATCH
        try:
            return self.number.checked(value, where)
        except ConfigError:
            raise _refuse(value, where, self.words) from None

    def from_text(self, text: str, where: str) -> int:
        """Return the number written in `text`."""
        return self.checked(int(text) if _INTEGER.fullmatch(text.strip()) else text, where)


@dataclass(frozen=True)
class Switch:
    """On or off."""

    @property
    def words(self) -> str:
        """What is accepted."""
        return "true or false"

    def checked(self, value: Any, where: str) -> Any:
        """Return the boolean."""
        if not isinstance(value, bool):
            raise _refuse(value, where, self.words)
        return value

    def from_text(self, text: str, where: str) -> Any:
        """Return the boolean written as true or false."""
        if text not in ("true", "false"):
            raise _refuse(text, where, self.words)
        return text == "true"


@dataclass(frozen=True)
class Text:
    """A line of text; empty only when `empty` says so; `pattern` is a regular expression for all of it."""

    empty: bool = True
    pattern: str = ""
    meaning: str = "text"

    @property
    def options(self) -> tuple[str, ...]:
        """The words of a pattern that is nothing but a list of words; () for any other."""
        listed = re.fullmatch(r"\((\w+(?:\|\w+)*)\)\?", self.pattern)
        return tuple(listed[1].split("|")) if listed else ()

    @property
    def words(self) -> str:
        """What is accepted."""
        return self.meaning

    def checked(self, value: Any, where: str) -> Any:
        """Return the text."""
        if not isinstance(value, str) or "\0" in value or (not value and not self.empty):
            raise _refuse(value, where, self.words)
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise _refuse(value, where, self.words)
        return value

    def from_text(self, text: str, where: str) -> Any:
        """Return the text."""
        return self.checked(text, where)


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    options: tuple[str, ...]

    @property
    def words(self) -> str:
        """What is accepted."""
        return "one of " + ", ".join(self.options)

    def checked(self, value: Any, where: str) -> Any:
        """Return the word."""
        if value not in self.options:
            alike = [option for option in self.options if option.lower() == str(value).lower()]
            raise _refuse(
                value,
                where,
                self.words,
                f"did you mean '{alike[0]}'?" if alike else did_you_mean(str(value), self.options),
            )
        return value

    def from_text(self, text: str, where: str) -> Any:
        """Return the word."""
        return self.checked(text, where)


@dataclass(frozen=True)
class LayerName:
    """A layer of a model: its number, or a name that the model will be asked for."""

    number: Number = Number(whole=True, low=0, high=10_000)
    name: Text = Text(pattern=r"[A-Za-z_*?\[][\w.*?\[\]!-]*")

    @property
    def words(self) -> str:
        """What is accepted."""
        return f"{self.number.words}, or a name such as backbone or model.24"

    def checked(self, value: Any, where: str) -> int | str:
        """Return the number or the name."""
        rule = self.name if isinstance(value, str) else self.number
        try:
            return rule.checked(value, where)
        except ConfigError:
            raise _refuse(value, where, self.words) from None

    def from_text(self, text: str, where: str) -> int | str:
        """Return the number or the name written in `text`."""
        return self.checked(int(text) if _INTEGER.fullmatch(text) else text, where)


@dataclass(frozen=True)
class Several:
    """A tuple of values that all follow one rule."""

    each: Rule
    least: int = 1
    most: int | None = None

    @property
    def words(self) -> str:
        """What is accepted."""
        if self.most is None:
            return self.each.words + " (several are allowed)"
        return f"{self.each.words} ({self.least} to {self.most} of them)"

    def checked(self, value: Any, where: str) -> Any:
        """Return the tuple; one bare value stands for a tuple of one."""
        values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        if len(values) < self.least or (self.most is not None and len(values) > self.most):
            raise _refuse(" ".join(map(str, values)), where, self.words)
        return tuple(self.each.checked(one, where) for one in values)

    def from_text(self, text: str, where: str) -> Any:
        """Return one element: the caller collects them and calls `checked`."""
        return self.each.from_text(text, where)
