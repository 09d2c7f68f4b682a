"""What ended a run, told once: to our own launcher, which speaks last, or in the run folder under a foreign one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from accel_yolo.engine.launched import LAUNCH_DIR, adopt_launch
from accel_yolo.errors import PeerError, UserError

FILE_NAME = "failure.json"


@dataclass(frozen=True)
class Failure:
    """How a process failed.

    Attributes:
        exit_code: of the process.
        message: one line.
        rank, host: which process it is, and where.
        time: seconds since 1970.
        already_reported: another process knows the cause, this one stopped with it.
        is_crash: an unexpected exception, whose traceback was printed.
    """

    exit_code: int
    message: str
    rank: int
    host: str
    time: float
    already_reported: bool = False
    is_crash: bool = False


class _State:
    folder: Path | None = None
    started_s = time.time()


def write_to(folder: Path | None) -> None:
    """From now on a failure of this process also leaves `failure.json` in the folder of the run; None ends that.

    The file of an earlier run in the same folder is removed.
    """
    _State.folder = folder
    if folder is None:
        return
    path = folder / FILE_NAME
    with contextlib.suppress(OSError):
        if path.stat().st_mtime < _State.started_s:  # else a process that was faster has failed already
            path.unlink()


def launcher_speaks() -> bool:
    """Return whether our own launcher started this process: it says how the run ended."""
    return bool(os.environ.get(LAUNCH_DIR))


def record(error: BaseException) -> bool:
    """Keep how this process failed, and return whether its launcher is ours and speaks of it.

    Does nothing for a process without a launcher: its message and its exit status say it all.
    """
    try:
        launched = adopt_launch()
    except UserError:  # nobody knows who this process is: it speaks for itself
        return False
    if not launched.launcher:
        return False
    is_user = isinstance(error, UserError)
    failure = Failure(
        exit_code=error.exit_code if is_user else 1,
        message=str(error) if is_user else _one_line(error),
        rank=launched.rank,
        host=socket.gethostname(),
        time=time.time(),
        already_reported=is_user and error.already_reported,
        is_crash=not is_user,
    )
    if _State.folder is not None and not failure.already_reported:
        # The first word counts; the file must not replace the message when it cannot be written.
        with contextlib.suppress(OSError), (_State.folder / FILE_NAME).open("x", encoding="utf-8") as stream:
            stream.write(_text(failure, ("exit_code", "message", "rank", "host", "time")))
    folder = os.environ.get(LAUNCH_DIR)
    if not folder:
        return False
    try:
        (Path(folder) / f"{launched.rank}.json").write_text(_text(failure), encoding="utf-8")
    except OSError:
        return False
    return True


def cause(folder: Path, exit_codes: Mapping[int, int]) -> tuple[int, str]:
    """Return the exit code and the message of what ended the processes of a launch.

    A process that failed by itself comes before one that was killed, and that before those that only lost a peer.

    Args:
        folder: where the processes left their records.
        exit_codes: rank -> exit code of each process that did not succeed; negative for a signal. The processes that
            the launcher itself ended are among them.
    """
    records = sorted(_records(folder), key=lambda failure: failure.time)
    told = [failure for failure in records if not failure.already_reported]
    for failure in told:
        if failure.exit_code != PeerError.exit_code:
            return failure.exit_code, _spoken(failure)
    silent = {rank: code for rank, code in exit_codes.items() if not any(known.rank == rank for known in records)}
    for rank, code in sorted(silent.items(), key=lambda item: item[1] < 0):  # stable: the launcher's order of time
        if code != -signal.SIGTERM:
            return _silent(rank, code)
    for failure in (*told, *records):
        return failure.exit_code, _spoken(failure)
    for rank, code in silent.items():
        return _silent(rank, code)
    return 1, "a process failed without a word"


def _silent(rank: int, code: int) -> tuple[int, str]:
    if code >= 0:
        return code, f"process {rank} ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    guess = " (out of memory?)" if code == -signal.SIGKILL else ""
    return PeerError.exit_code, f"process {rank} was killed by {name}{guess}"


def _spoken(failure: Failure) -> str:
    if not failure.is_crash:
        return failure.message
    return f"process {failure.rank} failed: {failure.message}; its traceback is above"


def _records(folder: Path) -> list[Failure]:
    found = []
    for path in folder.glob("*.json"):
        # A process that was killed while it wrote has said nothing.
        with contextlib.suppress(OSError, ValueError, TypeError):
            found.append(Failure(**json.loads(path.read_text(encoding="utf-8"))))
    return found


def _text(failure: Failure, names: tuple[str, ...] = ()) -> str:
    content = {name: value for name, value in asdict(failure).items() if not names or name in names}
    return json.dumps(content, indent=1) + "\n"


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
