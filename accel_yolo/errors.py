"""User errors: one line that names what is wrong, where, the value, and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class UserError(Exception):
    """An error the user can act on; printed as one line, never as a traceback.

    Args:
        what: what is wrong, in plain words.
        where: file, line, key or flag ("data.yaml:3, key 'names'"); "" when the message says it.
        value: the offending value; None when there is none to show.
        remedy: what to do about it.
    """

    exit_code = 1
    already_reported = False
    """True when another process has said it: nothing more is printed."""

    def __init__(self, what: str, where: str = "", value: object = None, remedy: str = "") -> None:
        self.what, self.where, self.value, self.remedy = what, where, value, remedy
        line = what
        if where:
            line += f" in {where}"
        if value is not None:
            line += f": {value}"
        if remedy:
            line += f"; {remedy}"
        # A file name or a value may hold newlines and terminal commands; the promise is one line of plain text.
        super().__init__(escaped(" ".join(line.split())))


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error, at most 200 characters; its kind where it has none."""
    return str(error).strip().split("\n")[0][:200] or type(error).__name__


class ConfigError(UserError):
    """Flags, YAML files, or combinations of them."""

    exit_code = 2


class DataError(UserError):
    """Images, labels, data sets."""

    exit_code = 3


class CheckpointError(UserError):
    """Weights and checkpoints."""

    exit_code = 4


class NewerCheckpoint(CheckpointError):
    """A checkpoint that this version cannot read because a newer one wrote it."""


class PeerError(UserError):
    """Another process or the network between processes."""

    exit_code = 5
    culprit: Mapping[str, Any] | None = None
    """What is known of the other process: fields of `engine.failures.Failure`."""


class NonFiniteError(UserError):
    """NaN or infinity where training needs numbers."""

    exit_code = 6


class EnvironmentFault(UserError):
    """Disk, memory, device, locks."""

    exit_code = 7


class Preempted(UserError):
    """A signal asked the run to stop; all processes did so after one step, whose checkpoint is durable.

    The exit status differs: a loop that starts what was pre-empted again must not start what a person has stopped.

    Args:
        name: of the signal.
        where: epoch and step.
        remedy: how the run is continued.
    """

    exit_code = 75

    def __init__(self, name: str, where: str, remedy: str) -> None:
        is_person = name == "SIGINT"
        super().__init__(f"{'interrupted' if is_person else 'stopped'} by {name}", where, None, remedy)
        if is_person:
            self.exit_code = 130


class StoppedByPeer(UserError):
    """Another process failed and says why; this one stops with it and stays silent."""

    already_reported = True

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def escaped(text: str) -> str:
    """Return `text` with control characters and bytes that are not UTF-8 written out ("\\n", "\\x1b", "\\xe9")."""
    if text.isprintable():  # nearly always, and a picture in a report is a text of half a million letters
        return text
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def printable(text: str, limit: int = 300) -> str:
    """Return `escaped` text of at most `limit` characters, cut in the middle: of a path, both ends tell most."""
    shown = escaped(text)
    head = limit // 3
    return shown if len(shown) <= limit else f"{shown[:head]}…{shown[head + 1 - limit :]}"


def _escape(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # how Python keeps a byte of a file name that is not UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?" for the nearest of `known`, or "" when none is near."""
    import difflib  # not for every --help

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else ""
