"""What each thread of this process does: written to the folder of the run when somebody asks or the process hangs."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import signal
from pathlib import Path
from typing import IO

ASK = getattr(signal, "SIGUSR2", None)
"""The signal on which a process writes its stacks, also when it is busy; None where there is no such signal."""


class _State:
    stream: IO[bytes] | None = None
    path: Path | None = None
    owner = 0
    is_enabled = False


def name_of(rank: int | str) -> str:
    """Return the name of the file of a process."""
    return f"stacks-{rank}.txt"


def told(rank: int) -> str:
    """Return the file that a process writes its stacks to, for messages; "" while there is none."""
    return str(_State.path.with_name(name_of(rank))) if _State.path is not None else ""


def answer_signal() -> None:
    """From now on write the stacks to stderr when asked by a signal, which would end the process otherwise."""
    if ASK is not None:
        with contextlib.suppress(ValueError, OSError, RuntimeError, AttributeError):  # a stderr without a descriptor
            faulthandler.register(ASK, all_threads=True)


def keep_in(folder: Path, rank: int) -> None:
    """From now on write them to a file in the folder of the run, those of a crash too. An empty file is removed.

    Where stacks of a crash go elsewhere already, as under pytest, they still go there.
    """
    leave()
    try:
        stream = (folder / name_of(rank)).open("ab")
    except OSError:  # it is a help, and no reason to stop
        return
    _State.stream, _State.path, _State.owner = stream, folder / name_of(rank), os.getpid()
    if ASK is not None:
        faulthandler.register(ASK, file=stream, all_threads=True)
    if not faulthandler.is_enabled():
        faulthandler.enable(file=stream)
        _State.is_enabled = True
    atexit.unregister(_leave_for_good)
    atexit.register(_leave_for_good)


def write() -> bool:
    """Write them now, if there is a file for them, and return whether that was possible."""
    if _State.stream is not None:
        with contextlib.suppress(ValueError, OSError):
            faulthandler.dump_traceback(file=_State.stream, all_threads=True)
            return True
    return False


def write_unless_called_within(seconds: float) -> None:
    """Write them once when this is not called again in time, even if no Python code of this process can run then."""
    if _State.stream is not None:
        with contextlib.suppress(ValueError, OSError, RuntimeError):
            faulthandler.dump_traceback_later(seconds, file=_State.stream)


def write_no_more() -> None:
    """Forget what `write_unless_called_within` would write."""
    if _State.stream is not None:
        faulthandler.cancel_dump_traceback_later()


def leave() -> None:
    """End all this as it was found; a file in which nothing was written is removed."""
    if _State.owner != os.getpid() or _State.stream is None or _State.path is None:
        return
    faulthandler.cancel_dump_traceback_later()
    if ASK is not None:
        faulthandler.unregister(ASK)
    if _State.is_enabled:
        faulthandler.disable()
        _State.is_enabled = False
    _State.stream.close()
    _State.stream = None
    remove_empty(_State.path)


def _leave_for_good() -> None:
    leave()
    if ASK is not None and _State.owner == os.getpid():
        signal.signal(ASK, signal.SIG_IGN)  # who asks now would end a process that ends well


def remove_unused() -> None:
    """Remove the file if nothing was written in it: this process ends at once, without its usual end."""
    if _State.owner == os.getpid() and _State.path is not None:
        remove_empty(_State.path)


def remove_empty(path: Path) -> None:
    """Remove a file of stacks that nobody asked for."""
    with contextlib.suppress(OSError):
        if path.stat().st_size == 0:
            path.unlink()
