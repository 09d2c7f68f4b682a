"""The training processes of this machine in one start of a run: begun, watched, told of signals, ended for certain."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence

PAUSE_S = 0.05
"""Between two looks at the processes."""

LAST_WORDS_S = 2.0
"""How long processes may take to end by themselves after another one of their run has failed."""


class Workforce:
    """Processes, each the first of a session of its own: a Ctrl-C of the terminal reaches their launcher alone.

    Attributes:
        exit_codes: process of the run -> exit status of those that have ended by themselves, in order of time.
    """

    def __init__(self, arguments: Sequence[str], environments: Mapping[int, Mapping[str, str]]) -> None:
        """Start one process for each entry: its number in the run -> its variables.

        Raises:
            OSError: one cannot be started; those before it are ended.
        """
        self.exit_codes: dict[int, int] = {}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        try:
            for rank, environment in environments.items():
                # From the main thread: a process is told that its parent is gone when the thread that began it is.
                self._processes[rank] = subprocess.Popen(
                    [sys.executable, *arguments], env={**os.environ, **environment}, start_new_session=True
                )
        except OSError:
            self._kill()
            raise

    def pid(self, rank: int) -> int:
        """Return the process id of a process of the run."""
        return self._processes[rank].pid

    @property
    def pids(self) -> list[int]:
        """The process ids of all, also of those that have ended."""
        return [process.pid for process in self._processes.values()]

    def running(self) -> list[int]:
        """Return who is still there, after a look at all."""
        for rank, process in self._processes.items():
            if rank not in self.exit_codes and (code := _exit_code(process)) is not None:
                self.exit_codes[rank] = code
        return [rank for rank in self._processes if rank not in self.exit_codes]

    def tell(self, number: int) -> None:
        """Send a signal to all that are still there."""
        for rank in self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._processes[rank].pid, number)  # not `send_signal`, which would bury one that has ended

    def end(self, within_s: float, evidence: int | None = None) -> None:
        """End all, who may first end by themselves for a while; what is killed is not among `exit_codes`.

        Args:
            within_s: how long they may take.
            evidence: a signal on which those that are to be killed leave word of where they are; None for none.
        """
        end_s = time.monotonic() + within_s
        while self.running() and time.monotonic() < end_s:
            time.sleep(PAUSE_S)
        if evidence is not None and self.running():
            self.tell(evidence)
            self.tell(signal.SIGCONT)  # one that is stopped takes no other signal
            time.sleep(4 * PAUSE_S)
        self._kill()

    def _kill(self) -> None:
        self.running()  # so that who has ended by now counts as ended by itself
        for process in self._processes.values():
            _kill_session(process.pid)  # with its data workers and other helpers, also those of one that has ended
        for process in self._processes.values():
            process.wait()


def failed(codes: Mapping[int, int], orderly: Collection[int]) -> bool:
    """Return whether somebody has ended otherwise than in order: such an exit status is 0 or one of `orderly`."""
    return any(code != 0 and code not in orderly for code in codes.values())


def _exit_code(process: subprocess.Popen[bytes]) -> int | None:
    """Return the exit status of a process, None while it runs; one that has ended is not buried.

    As long as it is not, nobody else gets its number, which is that of the group of its helpers, too.
    """
    if not hasattr(os, "waitid"):  # Windows, and macOS of an older Python
        return process.poll()
    found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _kill_session(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
