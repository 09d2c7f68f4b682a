"""What may stand after a flag, as a shell offers it: words, and files or folders."""

from __future__ import annotations

from dataclasses import dataclass

from accel_yolo.config.flag import Flag
from accel_yolo.config.rules import Choice, Rule, Several, Text
from accel_yolo.config.shipped import RELEASED, shipped_names

_SHIPPED = {"data": "data", "cfg": "models", "hyp_file": "hyps", "config_file": "accelerate"}
"""Setting -> the kind of shipped files whose names it takes besides paths."""

_USUAL = {"device": ("cpu", "0", "mps"), "freeze": ("backbone", "neck", "head")}
_OF_WEIGHTS = ("weights", "file")
_FILES = ("FILE", "RUN")
_FOLDERS = ("FOLDER",)
_OTHER_FILES = ("source", "destination")


@dataclass(frozen=True)
class Offer:
    """What may be typed for a value.

    Attributes:
        words: known values, in the order in which they are shown.
        paths: "file", "folder", or "" where no path is meant.
    """

    words: tuple[str, ...] = ()
    paths: str = ""


def offer_of(flag: Flag, rule: Rule | None) -> Offer:
    """Return what a shell offers as the value of a flag.

    Args:
        flag: a row of the table of flags.
        rule: that of the setting it fills.
    """
    each = rule.each if isinstance(rule, Several) else rule
    if isinstance(each, Choice):
        return Offer(each.options)
    if isinstance(each, Text) and each.options:
        return Offer(each.options)
    if flag.fills in _USUAL:
        return Offer(_USUAL[flag.fills])
    if flag.fills in _SHIPPED:
        return Offer(tuple(shipped_names(_SHIPPED[flag.fills])), "file")
    if flag.fills in _OF_WEIGHTS:
        return Offer(RELEASED, "file")
    if flag.metavar in _FOLDERS:
        return Offer((), "folder")
    return Offer((), "file" if flag.metavar in _FILES or flag.fills in _OTHER_FILES else "")
