"""Durable atomic writes, digests and locks: a file is there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from accel_yolo.errors import ConfigError, EnvironmentFault, printable

_FORGOTTEN_S = 86400.0
"""What was left behind so long ago has no writer any more."""

RUN_MARK = ".accel_yolo_run"
"""The file that tells run folders from folders of the user."""


def fsync_dir(folder: Path) -> None:
    """Make the names in `folder` durable (a rename is only safe after this)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Make the content of `path` durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path` durably, on failure it is removed.

    The mode of the result follows the umask, whatever the writer chose (safetensors writes 0600).

    Raises:
        EnvironmentFault: the folder cannot be written or the disk is full; the old file is untouched.
    """
    temporary = path.with_name(f"{_beside(path)}{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = _mode_of_new(temporary)
        yield temporary
        temporary.chmod(mode)
        fsync_file(temporary)
        temporary.replace(path)
        fsync_dir(path.parent)
    except OSError as error:
        raise EnvironmentFault("cannot write", str(path), error.strerror or error, "check space and rights") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what writers of `path` that were killed left beside it; only while no other process writes it."""
    for leftover in path.parent.glob(f"{_beside(path)}*"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def remove_dead_leftovers(folder: Path) -> None:
    """Remove what writers into `folder` that are gone have left there under names of their own.

    A name ends with the number of the process, or with "@host@process". Of this machine it is known whether that is
    alive; what cannot be known is removed when it is old.
    """
    here, oldest = socket.gethostname(), time.time() - _FORGOTTEN_S
    for path in (*folder.glob(".tmp-*"), *folder.glob(".trash-*")):
        found = re.fullmatch(r".*?(?:@(?P<host>.+)@|-)(?P<pid>[0-9]{1,9})", path.name)
        is_here = found is not None and (found["host"] or here) == here
        pid = int(found["pid"]) if found is not None else 0
        with contextlib.suppress(OSError):
            if (is_here and (pid == os.getpid() or not _is_alive(pid))) or path.lstat().st_mtime < oldest:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text_atomic(path: Path, content: str) -> None:
    """Write `content` to `path` as UTF-8, whole or not at all."""
    write_bytes_atomic(path, content.encode("utf-8"))


def sha256_bytes(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of the file in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def read_within(path: Path | str, limit: int) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: as for any file; EFBIG if it has more than `limit` bytes, which are then not read.
    """
    with open(path, "rb") as stream:  # noqa: PTH123
        check_size(os.fstat(stream.fileno()).st_size, limit, path)
        content = stream.read(limit + 1)  # some files have no size, and no end
        check_size(len(content), limit, path)
    return content


def check_size(size: int, limit: int, path: Path | str) -> None:
    """Raise OSError (EFBIG), whose text says both numbers, if a file is too large to be read."""
    if size > limit:
        raise OSError(errno.EFBIG, f"{size} bytes, at most {limit} are read", str(path))


@contextlib.contextmanager
def locked(path: Path, timeout_s: float = -1.0) -> Iterator[None]:
    """Hold the lock file `path`; it is released even when the process dies.

    Args:
        path: the lock file, created if missing.
        timeout_s: seconds to wait; negative waits for ever.

    Raises:
        EnvironmentFault: the lock was not free in time.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(str(path), timeout=timeout_s):
            yield
    except Timeout as error:
        raise EnvironmentFault("lock is held by another process", str(path), remedy="wait for it to finish") from error


def cache_dir() -> Path:
    """Return the per-user folder for derived files (ACCEL_YOLO_CACHE, else the XDG cache folder).

    Raises:
        EnvironmentFault: neither is named and there is no home folder.
    """
    if chosen := os.environ.get("ACCEL_YOLO_CACHE"):
        return Path(chosen)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "accel_yolo"
    if (home := home_folder()) is None:
        raise EnvironmentFault("no home folder for the cache", remedy="name a folder in ACCEL_YOLO_CACHE")
    return home / ".cache" / "accel_yolo"


def home_folder() -> Path | None:
    """Return the home folder of the user; None for a user without one, as containers have them."""
    try:
        return Path.home()
    except RuntimeError:  # neither HOME nor an entry among the users
        return None


def _beside(path: Path) -> str:
    """Return how the names of temporary files for `path` begin."""
    # Not made from the name itself, which may be as long as a name can be.
    return f".tmp-{sha256_bytes(os.fsencode(path.name))[:16]}-"


def _mode_of_new(path: Path) -> int:
    """Return the mode that a new file gets here; the umask cannot be asked for without changing it for all threads."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return os.fstat(descriptor).st_mode & 0o777
    finally:
        os.close(descriptor)
        path.unlink()


def next_run_folder(project: Path, name: str, exist_ok: bool = False) -> Path:
    """Return a new folder `project/name`, or `name2`, `name3`, ... where that is taken; it is created and marked.

    Args:
        project: the folder of runs, created if missing.
        name: name of this run.
        exist_ok: use `project/name` itself even if it exists. What else lies in a folder would be overwritten, so it
            must be empty, or marked as that of a run, and no data set (with a folder `images`).

    Raises:
        EnvironmentFault: the folder cannot be created.
        ConfigError: it exists and is not that of a run.
    """
    number = 1
    while True:
        folder = project / (name if number == 1 else f"{name}{number}")
        try:
            # Creating is the test: two runs started at once never get the same folder.
            folder.mkdir(parents=True, exist_ok=exist_ok)
            if exist_ok:
                _refuse_foreign(folder)
            mark_run_folder(folder)
            return folder
        except FileExistsError as error:
            if exist_ok:
                raise EnvironmentFault("not a folder", value=folder, remedy="choose another --name") from error
            number += 1
        except OSError as error:
            raise EnvironmentFault(
                "cannot create", value=folder, remedy=f"{error.strerror}: choose another folder"
            ) from error


def mark_run_folder(folder: Path) -> None:
    """Mark a folder as that of a run, which a later run may write into. Raises OSError."""
    (folder / RUN_MARK).write_text("A run of accel_yolo wrote into this folder: --exist-ok may do so again.\n")


def remove_unused_run_folder(folder: Path) -> None:
    """Remove a run folder in which nothing was written; one with anything in it stays as it is."""
    with contextlib.suppress(OSError):
        if [entry.name for entry in folder.iterdir()] == [RUN_MARK]:
            (folder / RUN_MARK).unlink()
            folder.rmdir()


def _refuse_foreign(folder: Path) -> None:
    """Raise ConfigError for a folder whose files may be somebody's. Raises OSError where it cannot be read."""
    names = {entry.name for entry in folder.iterdir()}
    if (names and RUN_MARK not in names) or "images" in names:
        what = "a data set" if "images" in names else "not the folder of a run"
        remedy = "its files could be lost: choose another name, or leave out --exist-ok"
        raise ConfigError(what, value=printable(str(folder)), remedy=remedy)


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a folder beside `folder` to write into, which gets its name when all went well and is removed when not.

    Args:
        folder: does not exist, or is empty.

    Raises:
        EnvironmentFault: something in it cannot be written.
    """
    folder = folder.absolute()
    beside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        yield beside
        if folder.is_dir():
            folder.rmdir()
        beside.rename(folder)
        fsync_dir(folder.parent)
    except OSError as error:
        what = error.strerror or error
        raise EnvironmentFault("cannot write", printable(str(folder)), what, "check space and rights") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents where they are missing.

    Raises:
        EnvironmentFault: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(
            "cannot create", value=folder, remedy=f"{error.strerror}: choose another folder"
        ) from error
