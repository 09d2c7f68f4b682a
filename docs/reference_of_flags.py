"""The page docs/flags.md, from the table of flags: every flag of every command, each said once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_cells import cell

from accel_yolo.config.exclusions import EXCLUSIONS, excluded_lines
from accel_yolo.config.flag import Flag
from accel_yolo.config.flags import ALIASES, COMMANDS, Command
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.config.rules import Rule
from accel_yolo.config.settings import flag_of, rules_of

PAGE = Path(__file__).parent / "flags.md"

HEAD = """# All flags

This page is generated from the table of flags by `make docs`. `accel-yolo <command> --help` says the same.

A value may follow its flag as a word of its own or behind `=`. Several values are separated by spaces. Flags are not
abbreviated: the spellings listed here are all there are. A flag that several commands share is described where it comes
first; the others link to it.

"""

_UNSAID = ("text", "true or false")
"""Words of a rule that say nothing more than the flag itself."""


@dataclass(frozen=True)
class Entry:
    """What is said of one flag of one command.

    Attributes:
        flag: the row of the table of flags.
        allowed: the values it takes, in words; "" where there are none to choose from.
        default: what holds without it; "" for nothing.
    """

    flag: Flag
    allowed: str
    default: str

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for two flags of which the same is to be said."""
        flag = self.flag
        return flag.spellings, flag.help, flag.later, flag.nargs, self.allowed, self.default


def entries_of(command: str) -> list[Entry]:
    """Return what is said of each flag of a command."""
    entry = COMMANDS[command]
    rules = {**rules_of(LaunchConfig), **entry.rules}
    return [Entry(flag, _allowed(flag, rules.get(flag.fills)), _default(flag, entry)) for flag in entry.flags]


def owners() -> dict[tuple[Any, ...], str]:
    """Return what is said -> the command at which it is said: the first that has the flag."""
    found: dict[tuple[Any, ...], str] = {}
    for command in COMMANDS:
        for entry in entries_of(command):
            found.setdefault(entry.key, command)
    return found


def anchor(command: str, flag: Flag) -> str:
    """Return the name of the place where a flag is described."""
    return f"{command} {flag.name.lstrip('-')}".replace(" ", "-").replace("_", "-")


def page() -> str:
    """Return the whole page."""
    owner = owners()
    parts = [HEAD]
    parts += [f"- [`{command}`](#{_section(command)}): {entry.summary}\n" for command, entry in COMMANDS.items()]
    parts += [_section_text(command, owner) for command in COMMANDS]
    return "".join(parts).rstrip() + "\n"


def _section(command: str) -> str:
    return command.replace(" ", "-")


def _section_text(command: str, owner: dict[tuple[Any, ...], str]) -> str:
    entry = COMMANDS[command]
    own = [each for each in entries_of(command) if owner[each.key] == command]
    groups: dict[str, list[Entry]] = {}
    for each in sorted(own, key=lambda each: bool(each.flag.later)):
        groups.setdefault(each.flag.group, []).append(each)
    parts = [f"\n## {command}\n\n`accel-yolo {command}`{_also(command, entry)}: {entry.summary}.\n"]
    for group, rows in groups.items():
        parts.append(f"\n**{group[0].upper()}{group[1:]}**\n\n")
        parts.append("| flag | default | what it does |\n|---|---|---|\n")
        parts += [_row(command, each) for each in rows]
    shared: dict[str, list[Flag]] = {}
    for each in entries_of(command):
        if owner[each.key] != command:
            shared.setdefault(owner[each.key], []).append(each.flag)
    for other, flags in shared.items():
        links = ", ".join(f"[`{flag.name}`](#{anchor(other, flag)})" for flag in flags)
        parts.append(f"\nAs in [`{other}`](#{_section(other)}): {links}.\n")
    if command == "train":
        lines = "".join(f"- {cell(line)}\n" for line in map(_in_code, excluded_lines()))
        parts.append(f"\n**What does not go together**\n\n{lines}")
    return "".join(parts)


def _also(command: str, entry: Command) -> str:
    names = [f"`python {entry.script}`"] if entry.script else []
    names += [f"`accel-yolo {alias}`" for alias, meant in ALIASES.items() if meant == command]
    return f" ({', '.join(names)})" if names else ""


def _row(command: str, entry: Entry) -> str:
    flag = entry.flag
    names = ", ".join(f"`{spelling}`" for spelling in flag.spellings)
    sentences = [f"{flag.lack}: {flag.later}" if flag.later else flag.help]
    if entry.allowed:
        sentences.append(f"Value: {entry.allowed}")
    if against := excluded_with(flag) if command == "train" else []:
        sentences.append(f"Not with {', '.join(against)}")
    if flag.refused:
        sentences.append(f"Not supported: {', '.join(f'`{value}`' for value in flag.refused)}")
    place = f'<a id="{anchor(command, flag)}"></a>'
    return f"| {place}{names} | {cell(entry.default)} | {cell('. '.join(sentences))} |\n"


def excluded_with(flag: Flag) -> list[str]:
    """Return what a flag of a training does not go together with, as it is typed, and at which of its own values."""
    found = []
    for each in EXCLUSIONS:
        values = " or ".join(map(str, each.values))
        if flag.fills == each.first:
            found.append(f"`{flag_of(each.second)}{f' {values}' if values else ''}`")
        elif flag.fills == each.second:
            found.append(f"`{flag_of(each.first)}`" + (f" (when {values})" if values else ""))
    return found


def _in_code(line: str) -> str:
    """Return a line of the list of exclusions with its flags as code."""
    flags, _, why = line.rpartition(": ")
    return ", ".join(f"`{pair.replace(' and ', '` and `')}`" for pair in flags.split(", ")) + f": {why}"


def _allowed(flag: Flag, rule: Rule | None) -> str:
    if rule is None or flag.nargs == 0 or flag.later or rule.words in _UNSAID:
        return ""
    return rule.words


def _default(flag: Flag, entry: Command) -> str:
    default = entry.defaults.get(flag.fills)
    if flag.nargs == 0 and flag.fills:
        return "off"
    if not flag.fills or flag.positional or default in (None, "", ()):
        return ""
    if flag.nargs == "?" and not default:
        return "off"
    return f"`{' '.join(map(str, default)) if isinstance(default, tuple) else default}`"
