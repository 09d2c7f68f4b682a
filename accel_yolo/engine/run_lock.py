"""A run folder belongs to one run at a time: a lock of the kernel, and beside it who holds it and since when.

The kernel frees its lock when the process has ended, however that ends. On a folder that several machines share it may
not reach the others, so the lease says more: on the same host the process is looked for, on another one it counts as
alive as long as it has renewed the lease in the last minutes. Its age is taken by the clock of the file system: clocks
of machines may differ by a day.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from accel_yolo import console
from accel_yolo.errors import EnvironmentFault

NAME = ".run.lock"
RENEWED_EVERY_S, ABANDONED_S = 20.0, 600.0
"""How often a lease is renewed, and after which silence another host may take it over."""

_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_BYTES = 1024


@dataclass(frozen=True)
class Lease:
    """Who holds a run folder.

    Attributes:
        host, pid: the process.
        born: when it was started, in ticks since its host was: the number of a process is used again; 0 if unknown.
        since: date and time in words, for people.
    """

    host: str
    pid: int
    born: int
    since: str

    @classmethod
    def own(cls) -> Lease:
        """Return the lease of this process."""
        return cls(socket.gethostname(), os.getpid(), _born(os.getpid()), time.strftime("%Y-%m-%d %H:%M:%S"))

    @property
    def is_of_this_host(self) -> bool:
        """Whether this host would know the process."""
        return self.host == socket.gethostname()

    @property
    def is_of_this_process(self) -> bool:
        """Whether it is our own, of an earlier run."""
        return self.is_of_this_host and self.pid == os.getpid()

    def is_alive(self) -> bool:
        """Return whether the process is there; of this host only."""
        with contextlib.suppress(psutil.Error):
            is_there = psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
            return is_there and (self.born == 0 or self.born == _born(self.pid))
        return False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


class RunLock:
    """A run folder that this process holds."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor, self._owner = path, descriptor, os.getpid()
        self._ending = threading.Event()
        self._write(json.dumps(asdict(Lease.own())))
        threading.Thread(target=self._renew, daemon=True, name="run lock").start()

    @classmethod
    def taken(cls, folder: Path) -> RunLock:
        """Return the lock of a run folder; one that was left behind is taken over with a warning.

        Raises:
            EnvironmentFault: another run works in the folder, or it cannot be written.
        """
        path = folder / NAME
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise EnvironmentFault("cannot write", str(path), error.strerror, "check space and rights") from error
            is_free = _lock(descriptor)
            if not _is_at(path, descriptor):  # its holder has just ended, and removed it
                os.close(descriptor)
                continue
            lease = _read(descriptor)
            if is_free and (lease is None or lease.is_of_this_process):
                return cls(path, descriptor)
            if _is_held(lease, is_free, path):
                os.close(descriptor)
                remedy = f"wait for its end, or give another --name; if it is long gone, remove {path}"
                raise EnvironmentFault("another run works in this folder", str(folder), lease or "unknown", remedy)
            console.warn(f"{folder} was left by {lease}, which is gone: this run takes it over")
            return cls(path, descriptor)

    def release(self) -> None:
        """Give the folder free; once is enough."""
        if self._ending.is_set() or os.getpid() != self._owner:
            return
        self._ending.set()
        with contextlib.suppress(OSError):
            self._path.unlink()  # while it is locked: who comes meanwhile sees that the file has gone
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a full disk: the lock of the kernel holds
            os.pwrite(self._descriptor, text.encode().ljust(_BYTES), 0)

    def _renew(self) -> None:
        while not self._ending.wait(RENEWED_EVERY_S):
            with contextlib.suppress(OSError):
                os.utime(self._path)


def _born(pid: int) -> int:
    """Return when a process was started: not the time of day, which may be set meanwhile."""
    try:
        return int(
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        )
    except (OSError, ValueError, IndexError):
        return 0


def _lock(descriptor: int) -> bool:
    """Return whether this process has locked a file; True too where there are no locks: then the lease says it."""
    try:
        import fcntl

        # One of the process and not of the open file: what it starts does not inherit the lock and cannot prolong it.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows
        return True
    except OSError as error:
        return error.errno not in _TAKEN
    return True


def _is_held(lease: Lease | None, is_free: bool, path: Path) -> bool:
    if lease is not None and lease.is_of_this_host:
        return lease.is_alive() or not is_free
    if lease is None:  # it has just been locked, and is about to be written
        return not is_free
    return _age_s(path) < ABANDONED_S


def _age_s(path: Path) -> float:
    """Return how long ago a file was renewed, by the clock of its file system."""
    with tempfile.NamedTemporaryFile(prefix=".clock-", dir=path.parent) as now:
        return max(os.fstat(now.fileno()).st_mtime - path.stat().st_mtime, 0.0)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except OSError:
        return False


def _read(descriptor: int) -> Lease | None:
    try:
        content: Any = json.loads(os.pread(descriptor, _BYTES, 0) or b"null")
        return Lease(**content) if content else None
    except (OSError, ValueError, TypeError):
        return None
