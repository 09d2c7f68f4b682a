"""How --help looks: what a flag takes, its default and its values, in the width of the terminal."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from accel_yolo.config.flag import Flag
from accel_yolo.config.rules import BatchSize, Choice, LayerName, Number, Rule, Several

NARROWEST, WIDEST = 40, 120
_UNKNOWN_WIDTH = 100
_WORDS_SHOWN = 30
"""Values of a choice are shown in place of a name where they need no more characters than this."""

PURPOSES: Mapping[str, tuple[str, ...]] = {
    "train and measure": ("train", "tune", "val"),
    "look": ("predict", "report"),
    "data": ("data check", "data stats", "data show", "data convert", "data split"),
    "models": ("info weights", "convert", "export", "benchmark", "push"),
    "this machine": ("env", "check", "profile", "completion"),
}
"""Heading -> commands, in the order in which they are listed."""


_LATE_HEADINGS = {"processes": 1, "several machines": 2}


class HelpPage(argparse.HelpFormatter):
    """Breaks lines between words only: a flag is one word. Lines of a text stay lines."""

    def __init__(self, prog: str) -> None:
        width = help_width()
        super().__init__(prog, max_help_position=32 if width >= 100 else 26, width=width)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        value = "" if action.nargs == 0 else " " + self._format_args(action, action.dest.upper())
        return f"{', '.join(shown_spellings(action.option_strings))}{value}"

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        (name,) = self._metavar_formatter(action, default_metavar)(1)
        return {"+": f"{name} ...", "?": f"[{name}]"}.get(str(action.nargs), name)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(self._filled_line(line, width, indent) for line in text.splitlines())

    def _filled_line(self, line: str, width: int, indent: str) -> str:
        if line.startswith("  $ "):  # a command is copied whole
            return indent + line
        first = "  " if line.startswith("  ") else ""
        further = first + "  " if first else ""
        return textwrap.fill(
            line.strip(),
            width,
            initial_indent=indent + first,
            subsequent_indent=indent + further,
            break_on_hyphens=False,
            break_long_words=False,
        )


def listed(commands: Iterable[str], group: str = "") -> list[tuple[str, list[str]]]:
    """Return headings and the commands under them, of all commands or of a group such as data."""
    here = [name for name in commands if not group or name.startswith(f"{group} ")]
    found = [(heading, [name for name in names if name in here]) for heading, names in PURPOSES.items()]
    rest = [name for name in here if not any(name in names for names in PURPOSES.values())]
    return [(heading, names) for heading, names in [*found, ("more", rest)] if names]


def usage(prog: str, flags: Iterable[Flag]) -> str:
    """Return the line of how a command is typed, without a list of all flags, which follows anyway."""
    places = [flag.key.upper() for flag in flags if flag.positional and flag.nargs != "?"]
    places += [f"[{flag.key.upper()}]" for flag in flags if flag.positional and flag.nargs == "?"]
    return " ".join((prog, *places, "[flags]"))


def in_order(flags: Iterable[Flag]) -> list[Flag]:
    """Return flags in the order of their headings: what most runs name first, what does not work last."""
    return sorted(flags, key=lambda flag: (bool(flag.later), _LATE_HEADINGS.get(flag.group, 0)))


def help_width() -> int:
    """Return how wide a page of help is: as the terminal, or as the variable COLUMNS says, within limits."""
    columns = 0
    with contextlib.suppress(ValueError):
        columns = int(os.environ.get("COLUMNS", "0"))
    if columns <= 0:
        # As shutil does it, which takes longer to import than a page takes to write.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            columns = os.get_terminal_size(sys.__stdout__.fileno()).columns  # type: ignore[union-attr]
    return min(max(columns or _UNKNOWN_WIDTH, NARROWEST), WIDEST)


def value_name(flag: Flag, rule: Rule | None) -> str:
    """Return what stands for the value of a flag: its values where they are few, else FILE, N, X or its name."""
    if flag.positional:
        return flag.metavar or flag.key.upper()
    each = rule.each if isinstance(rule, Several) else rule
    if isinstance(each, Choice) and len("|".join(each.options)) <= _WORDS_SHOWN:
        return "|".join(each.options)
    if flag.metavar:
        return flag.metavar
    if isinstance(each, (BatchSize, LayerName)) or (isinstance(each, Number) and each.whole):
        return "N"
    return "X" if isinstance(each, Number) else flag.key.upper()


def flag_help(flag: Flag, rule: Rule | None, defaults: Mapping[str, Any]) -> str:
    """Return the help of a flag with its default and the values that its name does not show."""
    words = [flag.help]
    each = rule.each if isinstance(rule, Several) else rule
    if isinstance(each, Choice) and flag.nargs != 0:
        shown = value_name(flag, rule).split("|")
        missing = [option for option in each.options if option not in shown and option not in flag.help]
        words += [f"one of {', '.join(each.options)}"] if missing else []
    default = default_words(flag, defaults)
    return "; ".join(words) + (f" (default {default})" if default else "")


def default_words(flag: Flag, defaults: Mapping[str, Any]) -> str:
    """Return the default of a setting as it is typed; "" where there is none or the help says it already."""
    default = defaults.get(flag.fills)
    if flag.nargs == 0 or flag.positional or default in (None, "", ()) or "default" in flag.help:
        return ""
    if flag.nargs == "?" and not default:  # off
        return ""
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def shown_spellings(spellings: Sequence[str]) -> list[str]:
    """Return the spellings without those that another one writes with dashes."""
    return [each for each in spellings if "_" not in each or each.replace("_", "-") not in spellings]
