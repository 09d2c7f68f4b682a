"""How a process failed: kept for our own launcher, which speaks last, and in the folder of the run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from accel_yolo import console, waypoints
from accel_yolo.engine.launched import LAUNCH_DIR, Launched, adopt_launch
from accel_yolo.errors import PeerError, UserError

FILE_NAME = "failure.json"
RUN, BEGUN, DONE, BEAT, PLACE = "run", "begun", ".done", ".beat", ".place"
"""In the folder of a launch: the file that names the folder of the run; one that is there as soon as the checkpoints in
that folder are those of this run; suffixes of what a process leaves at its end,
and of what it keeps as long as it lives: its last beat, and where it is."""

ORDERLY = (75, 130)
"""Exit status of processes that were asked to stop and have saved what they did: they end together."""

_FILES_SHOWN = 3


@dataclass(frozen=True)
class Failure:
    """How a process failed.

    Attributes:
        exit_code: of the process, or what its launcher makes of it.
        message: one line.
        rank, size: which process it is, of how many; -1 when it is none of them.
        machine, host, pid: where.
        step, phase: where in the program, see `waypoints`.
        files: image files that it worked on.
        remedy: what to do; "" when the message says it, or nobody knows.
        stacks: where it was left what each thread did; "" when it was not.
        time: seconds since 1970.
        already_reported: another process knows the cause, this one stopped with it.
        is_crash: an unexpected exception, whose traceback was printed.
        has_begun: the run had come to its first batch.
        told_by: the process that says so: another one where the failed one cannot; -1 for a launcher.
    """

    exit_code: int
    message: str
    rank: int
    host: str
    time: float
    size: int = 1
    machine: int = 0
    pid: int = 0
    step: int = 0
    phase: str = ""
    files: tuple[str, ...] = ()
    remedy: str = ""
    stacks: str = ""
    already_reported: bool = False
    is_crash: bool = False
    has_begun: bool = False
    told_by: int = -1


class _State:
    folder: Path | None = None


def remove_earlier(folder: Path) -> None:
    """Remove the `failure.json` of an earlier start, before any process of this one writes there."""
    with contextlib.suppress(OSError):
        (folder / FILE_NAME).unlink()


def write_to(folder: Path | None) -> None:
    """From now on a failure of this process also leaves `failure.json` in the folder of the run; None ends that.

    Our own launcher learns the folder too.
    """
    _State.folder = folder
    if folder is None:
        return
    if launcher_speaks() and console.is_first_here():
        with contextlib.suppress(OSError):
            (Path(os.environ[LAUNCH_DIR]) / RUN).write_text(str(folder.absolute()), encoding="utf-8")


def tell_begun() -> None:
    """Tell our own launcher, if there is one, that the folder of the run holds no checkpoints of an earlier run."""
    if launcher_speaks():
        with contextlib.suppress(OSError):
            (Path(os.environ[LAUNCH_DIR]) / BEGUN).touch()


def launcher_speaks() -> bool:
    """Return whether our own launcher started this process: it says how the run ended."""
    return bool(os.environ.get(LAUNCH_DIR))


def keep_place(rank: int) -> None:
    """From now on our own launcher, if there is one, sees where this process is, also after it was killed."""
    if launcher_speaks():
        waypoints.keep_in(Path(os.environ[LAUNCH_DIR]) / f"{rank}{PLACE}")


def record(error: BaseException) -> bool:
    """Keep how this process failed, and return whether its launcher is ours and speaks of it."""
    try:
        launched = adopt_launch()
    except UserError:  # nobody knows who this process is: it speaks for itself
        return False
    failure = _failure(error, launched)
    if _State.folder is not None and not failure.already_reported:
        leave(failure, _State.folder, first_word_counts=True)
    folder = os.environ.get(LAUNCH_DIR)
    if not folder:
        return False
    try:
        (Path(folder) / f"{launched.rank}.json").write_text(json.dumps(asdict(failure)) + "\n", encoding="utf-8")
    except OSError:
        return False
    return True


def finished() -> None:
    """Tell our own launcher that this process has come to the end of its work: its exit status 0 is meant."""
    if launcher_speaks():
        with contextlib.suppress(OSError, UserError):
            (Path(os.environ[LAUNCH_DIR]) / f"{adopt_launch().rank}{DONE}").touch()


def details_of(error: BaseException) -> list[str]:
    """Return what follows the line of an error where this process speaks for itself; [] before the first batch."""
    try:
        return details(_failure(error, adopt_launch()), _State.folder)
    except UserError:
        return []


def details(failure: Failure, run: Path | None) -> list[str]:
    """Return aligned lines that say who failed where in the program, and how the run goes on.

    There are none where no run has begun, nor for a stop that was asked for: its one line says it all.

    Args:
        failure: what is told.
        run: the folder of the run, None where it is not known or not on this machine.
    """
    if not failure.has_begun or failure.exit_code in ORDERLY:
        return []
    which = f"{failure.rank} of {failure.size}, " if failure.size > 1 else ""
    rows = [("process", f"{which}pid {failure.pid} on machine {failure.machine} ({failure.host})")]
    rows.append(("place", f"{waypoints.in_words(failure.phase)}, step {failure.step}"))
    if failure.files:
        more = len(failure.files) - _FILES_SHOWN
        rows.append(("last files", ", ".join(failure.files[:_FILES_SHOWN]) + (f", {more} more" if more > 0 else "")))
    rows += [(name, text) for name, text in (("remedy", failure.remedy), ("stacks", failure.stacks)) if text]
    if run is not None:
        rows += [
            ("checkpoint", newest_checkpoint(run)),
            ("to go on", how_to_go_on(run)),
            ("more in", str(run / FILE_NAME)),
        ]
    return [f"  {name:<11} {text}" for name, text in rows if text]


def leave(failure: Failure, run: Path, *, first_word_counts: bool) -> None:
    """Write `failure.json` into the folder of a run; a disk that cannot take it must not hide the message."""
    content = {name: value for name, value in asdict(failure).items() if name not in _OF_THE_LAUNCHER}
    content |= {"checkpoint": newest_checkpoint(run), "to_go_on": how_to_go_on(run)}
    with (
        contextlib.suppress(OSError),
        (run / FILE_NAME).open("x" if first_word_counts else "w", encoding="utf-8") as stream,
    ):
        stream.write(json.dumps(content, indent=1) + "\n")


_OF_THE_LAUNCHER = ("already_reported", "is_crash", "has_begun", "told_by")


def newest_checkpoint(run: Path) -> str:
    """Return in words which checkpoint of a run is the newest, and how old it is."""
    names = checkpoint_names(run)
    if not names:
        return "none yet"
    path = run / "checkpoints" / names[-1]
    try:
        age_s = max(time.time() - path.stat().st_mtime, 0.0)
    except OSError:
        return names[-1]
    age = f"{age_s:.0f} s" if age_s < 120 else f"{age_s / 60:.0f} min" if age_s < 7200 else f"{age_s / 3600:.1f} h"
    return f"step {step_of(names[-1])}, {age} old"


def checkpoint_names(run: Path) -> list[str]:
    """Return the names of the finished checkpoints of a run, oldest first, without a look into them."""
    try:
        return sorted(path.name for path in (run / "checkpoints").iterdir() if path.name.startswith("step-"))
    except OSError:
        return []


def step_of(name: str) -> int:
    """Return the step of a checkpoint by its name, "step-00000120-validated"."""
    number = name.removeprefix("step-").partition("-")[0]
    return int(number) if number.isdecimal() else 0


def how_to_go_on(run: Path) -> str:
    """Return how a run is continued, "" while it has no checkpoint."""
    return f"start it as before, with --resume {run}" if checkpoint_names(run) else ""


def read_failures(folder: Path) -> list[Failure]:
    """Return what processes left in the folder of a launch, the first failure first."""
    found = []
    for path in folder.glob("*.json"):
        # A process that was killed while it wrote has said nothing.
        with contextlib.suppress(OSError, ValueError, TypeError):
            content = json.loads(path.read_text(encoding="utf-8"))
            found.append(Failure(**{**content, "files": tuple(content.get("files", ()))}))
    return sorted(found, key=lambda failure: failure.time)


def failure_from(content: dict[str, object]) -> Failure:
    """Return a failure that travelled as `asdict` makes it."""
    known = {field.name for field in fields(Failure)}
    failure = Failure(**{name: value for name, value in content.items() if name in known})  # pyright: ignore
    return replace(failure, files=tuple(failure.files))


def _failure(error: BaseException, launched: Launched) -> Failure:
    is_user = isinstance(error, UserError)
    place = waypoints.place()
    found = Failure(
        exit_code=error.exit_code if is_user else 1,
        message=str(error) if is_user else _one_line(error),
        rank=launched.rank,
        host=socket.gethostname(),
        time=time.time(),
        size=launched.size,
        machine=launched.machine,
        pid=os.getpid(),
        step=place.step,
        phase=place.name,
        files=tuple(waypoints.files_at_hand()),
        already_reported=is_user and error.already_reported,
        is_crash=not is_user,
        has_begun=place.name != waypoints.START,
        told_by=launched.rank,
    )
    known = error.culprit if isinstance(error, PeerError) else None
    return replace(found, **known) if known else found


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def signal_name(code: int) -> str:
    """Return the name of the signal behind a negative exit status."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def numbered(ranks: Sequence[int]) -> str:
    """Return processes in words: "process 1", "processes 1 and 2", "processes 0 to 3"."""
    if len(ranks) == 1:
        return f"process {ranks[0]}"
    together = "to" if len(ranks) > 2 and ranks[-1] - ranks[0] == len(ranks) - 1 else "and"
    shown = [ranks[0], ranks[-1]] if together == "to" else ranks
    return f"processes {', '.join(map(str, shown[:-1]))} {together} {shown[-1]}"
