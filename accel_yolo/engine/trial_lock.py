"""A lock that lives exactly as long as the work it stands for: held by a worker and by the training it started."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from accel_yolo.errors import EnvironmentFault

_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


class TrialLock:
    """A lock file that is locked.

    The kernel frees it when the last process that has it open has ended, however that ends; on a shared folder (NFS
    with locks) also when the machine has. A training inherits the descriptor of its worker: while one of the two
    lives, nobody takes the trial for abandoned.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def taken(cls, path: Path) -> TrialLock | None:
        """Return the lock, None while somebody else holds it.

        Raises:
            EnvironmentFault: this system, or the file system of the folder, has no locks.
        """
        try:
            import fcntl
        except ImportError as error:
            raise EnvironmentFault("this system has no file locks", str(path), remedy="search on Linux") from error
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise EnvironmentFault("cannot write", str(path), error.strerror, "check space and rights") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in _TAKEN:
                return None
            remedy = "put the study on a file system with locks"
            raise EnvironmentFault("cannot lock", str(path), error.strerror, remedy) from error
        return cls(descriptor)

    def release(self) -> None:
        """Give the lock up, unless a training that inherited it is still there."""
        with contextlib.suppress(OSError):
            os.close(self.descriptor)
        self.descriptor = -1
