"""Programs that this one starts for itself, and processes that must not outlive their parent."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LOOK_S = 0.5
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[1])
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def end_with_parent(number: signal.Signals, within_s: float | None = None) -> None:
    """Have this process get a signal at once when the thread that started it ends; Linux only.

    A parent that has ended before this call is not noticed: the caller looks for that afterwards.

    Args:
        number: the signal.
        within_s: this process is gone that many seconds after its parent, whatever it makes of the signal, and where
            no signal comes; None leaves it to the signal.
    """
    if sys.platform == "linux":
        import ctypes  # not for every --help

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if within_s is not None:
        threading.Thread(target=_outlive, args=(os.getppid(), within_s), daemon=True, name="lifeline").start()


def leave_signals_to_the_run() -> None:
    """Ignore what asks a run to stop: it goes to all processes of a terminal, a job or a container.

    The process that this one works for decides, and needs it until then.
    """
    signal.set_wakeup_fd(-1)  # of a fork it would still be that of the run
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _outlive(parent: int, seconds: float) -> None:
    """End this process some seconds after it has lost its parent."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    time.sleep(seconds)
    os._exit(128 + signal.SIGTERM)


def start_program(
    function: str, words: Sequence[str], *, site: bool = False, **how: Any
) -> subprocess.Popen[bytes] | None:
    """Return a process that calls a function of this package with one thread; None where none can be started.

    It is a fresh program: that works in a process of any kind (with threads, with a GPU, itself a worker), and asks
    nothing of the script that runs.

    Args:
        function: "package.module:function"; it takes `words`.
        words: what it is called with.
        site: set up what is installed as usual. Without it a process starts in half the time; all that is lost is what
            is found in other ways than through the path.
        how: it is started, for `subprocess.Popen`.
    """
    if not sys.executable or getattr(sys, "frozen", False):  # a program with an interpreter inside
        return None
    import subprocess  # not for every --help

    module, _, name = function.partition(":")
    program = f"import sys; sys.path[:] = sys.argv[{len(words) + 1}:]; from {module} import {name}; "
    program += f"{name}(*sys.argv[1:{len(words) + 1}])"
    search = [_PACKAGE_ROOT, *(place for place in sys.path if place)]
    try:
        command = [sys.executable, *(() if site else ("-S",)), "-c", program, *words, *search]
        started: Any = subprocess.Popen(command, env=os.environ | _ONE_THREAD, **how)
        return started
    except OSError:
        return None


def is_running(pid: int) -> bool:
    """Return whether a process of this machine has not ended; one that nobody has buried yet has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return not Path("/proc/self/stat").exists()
    return state not in "ZX"
