"""A run folder belongs to one run at a time: a lock of the kernel, and beside it who holds it and since when.

The kernel frees its lock when the process has ended, however that ends. On a folder that several machines share it may
not reach the others, so the lease says more: on the same host the process is looked for; a lease of another host is
watched for a minute, and taken over if it is not renewed meanwhile. Clocks have no part in this: those of machines may
differ by a day. A process that was suspended so long that its folder was taken over ends when it goes on.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from accel_yolo import console
from accel_yolo.engine import stacks
from accel_yolo.errors import EnvironmentFault

NAME = ".run.lock"
RENEWED_EVERY_S, WATCHED_S = 20.0, 60.0
"""How often a lease is renewed, and how long one of another host is watched before it is taken over."""

_LOOK_EVERY_S = 1.0
_MOST_TRIES = 10
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
        self._lease = Lease.own()
        self._write(json.dumps(asdict(self._lease)))
        self._is_told = _read(descriptor) == self._lease
        threading.Thread(target=self._renew, daemon=True, name="run lock").start()

    @classmethod
    def taken(cls, folder: Path, waiting: Callable[[], object] = lambda: None) -> RunLock:
        """Return the lock of a run folder; one that was left behind is taken over with a warning.

        That takes a minute when another host has left it.

        Args:
            folder: of the run.
            waiting: called every second meanwhile.

        Raises:
            EnvironmentFault: another run works in the folder, or it cannot be written.
        """
        path = folder / NAME
        silent: _Sign | None = None
        while True:
            descriptor, is_free = _opened(path)
            lease = _read(descriptor)
            if is_free and (lease is None or lease.is_of_this_process):
                return cls(path, descriptor)
            if lease is not None and not lease.is_of_this_host and _sign(descriptor) != silent:
                os.close(descriptor)
                if silent is not None:
                    raise _taken(path, lease)
                silent = _watched(path, lease, waiting)
                continue
            if lease is None or lease.is_of_this_host:
                is_held = not is_free or (lease is not None and lease.is_alive())
                if is_held:  # one without a lease has just been locked, and is about to be written
                    os.close(descriptor)
                    raise _taken(path, lease)
            console.warn(f"{folder} was left by {lease}, which is gone: this run takes it over")
            return cls(path, descriptor)

    def release(self) -> None:
        """Give the folder free; once is enough."""
        if self._ending.is_set() or os.getpid() != self._owner:
            return
        self._ending.set()
        with contextlib.suppress(OSError):
            if self._successor() is None:
                self._path.unlink()  # while it is locked: who comes meanwhile sees that the file has gone
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a full disk: the lock of the kernel holds
            os.pwrite(self._descriptor, text.encode().ljust(_BYTES), 0)

    def _renew(self) -> None:
        while not self._ending.wait(RENEWED_EVERY_S):
            successor = self._successor()
            if successor is not None and not self._ending.is_set():
                lost = "this process did not run for a while, and its folder was taken over"
                error = EnvironmentFault(lost, str(self._path.parent), successor, "nothing more is written there")
                console.error_line(str(error))
                stacks.remove_unused()
                os._exit(error.exit_code)  # at once: whatever else is done on the way out writes into that folder
            with contextlib.suppress(OSError):
                os.utime(self._path)

    def _successor(self) -> Lease | None:
        """Return who has taken the folder over, None while it is ours."""
        # A person may have removed the file, as the message says, and another run made a new one.
        is_there = _is_at(self._path, self._descriptor)
        lease = _read(self._descriptor) if is_there else _sign_at(self._path)[0]
        return lease if self._is_told and lease is not None and lease != self._lease else None


def remove_left(folder: Path, pids: Collection[int]) -> None:
    """Remove the lock that a process of this host has left in a run folder when it was killed; any other one stays.

    Args:
        folder: of the run.
        pids: the processes that have ended and may have left it.
    """
    path = folder / NAME
    with contextlib.suppress(OSError):  # most runs leave none
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            lease = _read(descriptor) if _lock(descriptor) else None
            is_left = lease is not None and lease.is_of_this_host and lease.pid in pids and not lease.is_alive()
            if is_left and _is_at(path, descriptor):
                path.unlink()
        finally:
            os.close(descriptor)


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


def _opened(path: Path) -> tuple[int, bool]:
    """Return the descriptor of a lock file, and whether this process has locked it. Raises EnvironmentFault."""
    for tried in range(_MOST_TRIES):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise EnvironmentFault("cannot write", str(path), error.strerror, "check space and rights") from error
        is_free = _lock(descriptor)
        # Its holder may have ended just now, and removed it; some file systems never give a file the same number.
        if _is_at(path, descriptor) or tried == _MOST_TRIES - 1:
            break
        os.close(descriptor)
    return descriptor, is_free


_Sign = tuple["Lease | None", int]


def _sign(descriptor: int) -> _Sign:
    """Return what changes when the holder of a lease renews it, or another one takes it over."""
    return _read(descriptor), os.fstat(descriptor).st_mtime_ns


def _watched(path: Path, lease: Lease, waiting: Callable[[], object]) -> _Sign:
    """Return the sign of a lease of another host that has not been renewed for a minute. Raises EnvironmentFault."""
    console.note(f"{path.parent} is held by {lease}; watching for {WATCHED_S:.0f} s whether that run still goes on")
    seen, until = _sign_at(path), time.monotonic() + WATCHED_S
    while time.monotonic() < until:
        time.sleep(min(_LOOK_EVERY_S, WATCHED_S / 4))
        waiting()
        now = _sign_at(path)
        if now[0] is None:  # released, or about to be written
            return now
        if now != seen:
            raise _taken(path, lease)
    return seen


def _sign_at(path: Path) -> _Sign:
    # Opened each time, without a lock: this is when network file systems ask their server.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None, 0
    try:
        return _sign(descriptor)
    finally:
        os.close(descriptor)


def _taken(path: Path, lease: Lease | None) -> EnvironmentFault:
    remedy = f"wait for its end, or give another --name; if it is long gone, remove {path}"
    return EnvironmentFault("another run works in this folder", str(path.parent), lease or "unknown", remedy)


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
