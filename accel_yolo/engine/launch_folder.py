"""The folder in which the processes of a launch leave word: it goes with its launcher, or when the next one comes."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX, LOCK = "accel-yolo-launch-", "lock"


@contextlib.contextmanager
def launch_folder() -> Iterator[Path]:
    """Make a folder for a launch, remove it afterwards, and remove those of launchers that were killed."""
    _remove_dead()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    descriptor = None
    try:
        descriptor = _new_lock(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _new_lock(folder: Path) -> int | None:
    """Return a descriptor of a locked file that is in a folder from now on; None where there are no such locks.

    The kernel frees it when the launcher has ended. Numbers of processes would not do: containers may share the folder.
    """
    descriptor = os.open(folder / f".{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _lock(descriptor):
        os.close(descriptor)
        return None
    (folder / f".{LOCK}").rename(folder / LOCK)  # nobody sees it before it is locked
    return descriptor


def _remove_dead() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        # Those of others cannot be opened.
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            if _lock(descriptor) and path.parent.lstat().st_uid == os.getuid():
                shutil.rmtree(path.parent, ignore_errors=True)
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # Windows; held, or a file system without locks
        return False
    return True
