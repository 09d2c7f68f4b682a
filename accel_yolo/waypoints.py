"""Where this process is: the named places of the program, for whoever looks when it hangs or dies; and faults that a
test asks for at such a place.

A fault is asked for with ACCEL_YOLO_FAIL, a list of `point:process:step:action[:start]` separated by commas. `process`,
`step` and `start` may be `*`, any; `start` counts the starts of a run under `--max-restarts`, from 0, which is meant
when it is left out. Actions: kill, stop (SIGSTOP), term, int, raise, hang, exit0, enospc, eio, or a number of seconds
to sleep. Each happens once in a process.
"""

from __future__ import annotations

import errno
import mmap
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from accel_yolo.errors import ConfigError

FAIL = "ACCEL_YOLO_FAIL"
ANY = "*"
_SIGNALS = {"kill": "SIGKILL", "stop": "SIGSTOP", "term": "SIGTERM", "int": "SIGINT"}
_ERRORS = {"enospc": errno.ENOSPC, "eio": errno.EIO}
_FOREVER_S = 3600.0
START = "start"
"""The place of a process that has not come to its first batch."""
_KEPT_BYTES = 256
_WORDS = {
    START: "the start of the run",
    "data": "data loading",
    "agreement": "the agreement on the next step",
    "forward": "the forward pass",
    "backward": "the backward pass",
    "exchange": "the exchange of gradients",
    "update": "the update",
    "average": "the average of weights",
    "merging": "the merging of detections",
    "results": "the writing of results",
    "leaving": "the end of the run",
}


@dataclass(frozen=True)
class Place:
    """Where a process is.

    Attributes:
        name: of the place, in words for people: "data", "forward", "validation", ...
        step: steps of the run that were done.
        since: `time.monotonic()` of its arrival there.
    """

    name: str
    step: int
    since: float


@dataclass(frozen=True)
class _Fault:
    point: str
    process: str
    step: str
    action: str
    start: str = "0"


class _Here:
    def __init__(self) -> None:
        self.place = Place(START, 0, time.monotonic())
        self.spent: dict[str, float] = {}
        self.kept: mmap.mmap | None = None
        self.process = ""  # not known yet
        self.faults: list[_Fault] | None = None
        self.files: Callable[[], Sequence[str]] | None = None


_here = _Here()


def reach(name: str, step: int | None = None) -> None:
    """Note that the main thread of this process has come to a place; a fault that was asked for there happens.

    Args:
        name: of the place.
        step: steps of the run that are done; None leaves the number as it was.
    """
    before, now = _here.place, time.monotonic()
    _here.spent[before.name] = _here.spent.get(before.name, 0.0) + now - before.since
    _here.place = Place(name, before.step if step is None else step, now)
    if _here.kept is not None:
        _write(_here.kept)
    fail_at(name)


def fail_at(name: str) -> None:
    """Have a fault happen that was asked for at a place which is no phase of the main thread; else nothing.

    Raises:
        ConfigError: ACCEL_YOLO_FAIL is not understood.
        OSError, RuntimeError: the faults `enospc`, `eio` and `raise`.
    """
    if _here.faults is None:
        _here.faults = _asked(os.environ.get(FAIL, ""))
    for fault in _here.faults:
        if fault.point == name and _is_meant(fault):
            _here.faults.remove(fault)
            _happen(fault)
            return


def in_words(name: str) -> str:
    """Return a place in words for people: "data loading"."""
    return _WORDS.get(name, name)


def leave() -> None:
    """Forget all places: another run may begin in this process."""
    _here.place, _here.spent, _here.files = Place(START, 0, time.monotonic()), {}, None


def place() -> Place:
    """Return where the main thread of this process is."""
    return _here.place


def spent() -> dict[str, float]:
    """Return the seconds that the main thread has been at each place so far."""
    here = _here.place
    so_far = dict(_here.spent)
    so_far[here.name] = so_far.get(here.name, 0.0) + time.monotonic() - here.since
    return so_far


def keep_in(path: Path | None) -> None:
    """From now on keep the place in a file too: it is still there when the process is killed. None ends that.

    The file is memory that is shared with whoever reads it: to keep a place costs a microsecond and no disk.
    """
    _here.kept = None
    if path is None:
        return
    try:
        with path.open("wb+") as stream:
            stream.truncate(_KEPT_BYTES)
            _here.kept = mmap.mmap(stream.fileno(), _KEPT_BYTES)
        _write(_here.kept)
    except (OSError, ValueError):  # it is told in a report of a failure only
        _here.kept = None


def kept_place(path: Path) -> tuple[str, int]:
    """Return name and step of the place that a process has kept in a file; "" and 0 where there is none."""
    try:
        step, _, name = path.read_bytes().rstrip(b"\0").decode("utf-8", "replace").partition(" ")
        return name, int(step)
    except (OSError, ValueError):
        return "", 0


def _write(kept: mmap.mmap) -> None:
    text = f"{_here.place.step} {_here.place.name}".encode()[:_KEPT_BYTES]
    kept[:] = text.ljust(_KEPT_BYTES, b"\0")


def begin(process: int) -> None:
    """Say which process of the run this is, and ask for the faults of the environment anew."""
    _here.process, _here.faults = str(process), None


def tell_files(files: Callable[[], Sequence[str]] | None) -> None:
    """Say how the image files of the batch at hand are found; None when there is none any more."""
    _here.files = files


def files_at_hand() -> list[str]:
    """Return the image files of the batch that is being worked on; [] where that is not known."""
    try:
        return list(_here.files()) if _here.files is not None else []
    except Exception:  # noqa: BLE001 - asked for in a report of a failure, which must not fail for this
        return []


def _asked(text: str) -> list[_Fault]:
    faults = []
    for word in filter(None, text.split(",")):
        parts = word.split(":")
        known = len(parts) in (4, 5) and (
            parts[3] in (*_SIGNALS, *_ERRORS, "raise", "hang", "exit0") or _seconds(parts[3])
        )
        if not known:
            raise ConfigError("not a fault", FAIL, word, "write point:process:step:action[:start]")
        faults.append(_Fault(*parts))
    return faults


def _is_meant(fault: _Fault) -> bool:
    here = _here.process, str(_here.place.step), os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    asked = fault.process, fault.step, fault.start
    return all(wish in (ANY, fact) for wish, fact in zip(asked, here, strict=True))


def _happen(fault: _Fault) -> None:
    if fault.action in _SIGNALS:
        os.kill(os.getpid(), getattr(signal, _SIGNALS[fault.action]))
    elif fault.action in _ERRORS:
        number = _ERRORS[fault.action]
        raise OSError(number, os.strerror(number), f"asked for at {fault.point}")
    elif fault.action == "raise":
        raise RuntimeError(f"asked for at {fault.point}")
    elif fault.action == "exit0":
        os._exit(0)
    else:
        time.sleep(_seconds(fault.action) or _FOREVER_S)


def _seconds(text: str) -> float:
    try:
        return max(float(text), 0.0)
    except ValueError:
        return 0.0
