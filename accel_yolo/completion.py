"""Scripts that let a shell complete commands, flags and values, made by shtab from the table of flags."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any

import shtab

from accel_yolo.config.flag import Flag
from accel_yolo.config.flags import ALIASES, COMMANDS
from accel_yolo.config.help_pages import in_order, shown_spellings, value_name
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.config.offers import Offer, offer_of
from accel_yolo.config.rules import Rule
from accel_yolo.config.settings import rules_of

PROGRAM = "accel-yolo"


def script(shell: str) -> str:
    """Return the completion script of accel-yolo for a shell.

    Args:
        shell: one of `SHELLS`.
    """
    return shtab.complete(_all_commands(), shell)


def _all_commands() -> argparse.ArgumentParser:
    """Return one parser of everything that may be typed, with what shtab is to offer at each place."""
    root = argparse.ArgumentParser(PROGRAM, description="YOLOv5-family detectors", add_help=False)
    root.add_argument("--help", action="store_true", help="list the commands")
    root.add_argument("--version", action="store_true", help="print the version")
    parsers = root.add_subparsers()
    groups: dict[str, Any] = {}
    for name in COMMANDS:
        first, _, verb = name.partition(" ")
        if verb and first not in groups:
            groups[first] = _added(parsers, first, f"commands about {first}").add_subparsers()
        _add_flags(_added(groups[first] if verb else parsers, verb or first, COMMANDS[name].summary), name)
    for alias, name in ALIASES.items():
        _add_flags(_added(parsers, alias, COMMANDS[name].summary), name)
    return root


def _added(parsers: Any, name: str, summary: str) -> argparse.ArgumentParser:
    return parsers.add_parser(name, help=summary, description=summary, add_help=False)


def _add_flags(parser: argparse.ArgumentParser, command: str) -> None:
    rules = {**rules_of(LaunchConfig), **COMMANDS[command].rules}
    for flag in in_order(COMMANDS[command].flags):
        if not flag.later:
            _add_flag(parser, flag, rules)
    parser.add_argument("--help", action="store_true", help="show the help")


def _add_flag(parser: argparse.ArgumentParser, flag: Flag, rules: Mapping[str, Rule]) -> None:
    if flag.nargs == 0:
        parser.add_argument(*shown_spellings(flag.spellings), action="store_true", help=flag.help)
        return
    rule = rules.get(flag.fills)
    offer = offer_of(flag, rule)
    action = parser.add_argument(
        *shown_spellings(flag.spellings), nargs=flag.nargs, metavar=re.sub(r"\W", " ", value_name(flag, rule)),
        help=flag.help,
    )  # fmt: skip
    if offer.paths and offer.words:
        action.complete = _words_and_paths(offer)  # type: ignore[attr-defined]
    elif offer.paths:
        action.complete = shtab.DIRECTORY if offer.paths == "folder" else shtab.FILE  # type: ignore[attr-defined]
    elif offer.words:
        action.choices = offer.words


def _words_and_paths(offer: Offer) -> dict[str, Any]:
    """Return what offers known names and files alike, in the words of each shell."""
    words = " ".join(offer.words)
    mark = f"_accel_yolo_file_or_{shtab.sha(offer.words)}"
    return {
        # The name of the function says that there are files among the words: shtab looks for that.
        "bash": mark,
        "zsh": mark,
        "fish": f"{words} (__fish_complete_path (commandline -ct))",
        "powershell": mark,
        "preamble": {
            "bash": f'{mark}() {{\n  compgen -W "{words}" -- "$1"\n  compgen -f -- "$1"\n}}',
            "zsh": f"{mark}() {{\n  _alternative 'names:name:({words})' 'files:file:_files'\n}}",
            "powershell": f"""function {mark} {{
  param([string]$WordToComplete)
  '{words}'.Split(' ') | Where-Object {{ $_ -like "$WordToComplete*" }}
  _shtab_powershell_compgen_files $WordToComplete
}}""",
        },
    }
