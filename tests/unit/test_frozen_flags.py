"""The flags are a promise: the list is kept in frozen_flags.txt and changes only on purpose."""

from __future__ import annotations

from pathlib import Path

from accel_yolo.config.flags import COMMANDS

FROZEN = Path(__file__).with_name("frozen_flags.txt")

ARITY = {None: "1 value", 0: "no value", "?": "0 or 1 values", "+": "1 or more values"}


def current() -> list[str]:
    """Return one line per flag: command, spellings, how many values, default, whether it works."""
    lines = []
    for command, entry in COMMANDS.items():
        defaults = entry.defaults
        for flag in entry.flags:
            state = "later" if flag.later else f"default {defaults[flag.fills]!r}" if flag.fills else "accepted"
            spellings = "|".join(flag.spellings)
            lines.append(f"{command} {spellings}: {ARITY[flag.nargs]}; {flag.fills or '-'}; {state}")
    return lines


def test_the_flags_are_those_of_the_frozen_list() -> None:
    frozen = FROZEN.read_text(encoding="utf-8").splitlines()
    gone = sorted(set(frozen) - set(current()))
    new = sorted(set(current()) - set(frozen))
    assert not gone, f"gone or changed: scripts that use them would break: {gone}"
    assert not new, f"new: add them to {FROZEN.name}: {new}"
    assert current() == frozen
