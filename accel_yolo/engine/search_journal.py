"""The file in which Optuna keeps a study: appended to under a lock that no death leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from filelock import FileLock

CHUNK = 1 << 16


class JournalLock:
    """The lock of the journal, in the form that Optuna asks for.

    Optuna's own locks are files that exist: a process that is killed leaves one, and the others wait half a minute
    before they dare to remove it. This one is of the kernel and works on a shared folder too. Whoever gets it also
    removes the half of a line that a killed writer may have left: appended to, it would make the journal unreadable.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._lock = FileLock(f"{journal}.lock")

    def acquire(self) -> bool:
        """Wait for the lock and return True."""
        self._lock.acquire()
        try:
            drop_half_line(self._journal)
        except BaseException:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        """Give the lock up."""
        self._lock.release()


def drop_half_line(path: Path) -> None:
    """Cut a file after its last complete line."""
    if not path.exists():
        return
    with path.open("rb+") as stream:
        size = stream.seek(0, 2)
        end = size
        while end > 0:
            start = max(end - CHUNK, 0)
            stream.seek(start)
            newline = stream.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            stream.truncate(end)


def journal_storage(path: Path) -> Any:
    """Return Optuna's storage in a file; the folder must exist."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    lock: Any = JournalLock(path)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
