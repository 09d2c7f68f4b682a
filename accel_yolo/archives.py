"""Unpacks zip and tar archives from outside: nothing lands outside the folder, nothing but plain files."""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from accel_yolo.errors import DataError, EnvironmentFault
from accel_yolo.files import fsync_dir
from accel_yolo.tar_stream import PIECE_BYTES, TarStream, inflated

MAX_ENTRIES = 2_000_000
MAX_RATIO = 200
FREE_BYTES = 64 << 20
"""An archive may inflate to this plus MAX_RATIO times its size; images barely shrink, bombs grow a thousandfold."""


_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError,
)  # fmt: skip


@dataclass
class _Entry:
    name: str
    is_folder: bool
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path) -> list[Path]:
    """Return the new top-level files and folders after unpacking a .zip or .tar(.gz|.bz2|.xz) into `folder`.

    Everything is unpacked beside its destination first and moved there when all is well. Refused, not repaired:
    names that are absolute or lead outside, links, devices, repeated names, encryption, bombs, damage.

    Raises:
        DataError: naming the archive, the entry and the reason; `folder` is then unchanged.
        EnvironmentFault: the disk is full or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".unpack-", dir=folder))
    except OSError as error:
        raise EnvironmentFault(
            "cannot write", str(folder), error.strerror or error, "check space and rights"
        ) from error
    try:
        _unpack_into(archive, temporary)
        return _moved(archive, temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _moved(archive: Path, temporary: Path, folder: Path) -> list[Path]:
    names = sorted(path.name for path in temporary.iterdir())
    for name in names:
        if os.path.lexists(folder / name):
            raise DataError("already exists", str(folder / name), remedy=f"remove it to unpack {archive.name} again")
    for name in names:
        (temporary / name).rename(folder / name)
    fsync_dir(folder)
    return [folder / name for name in names]


def _unpack_into(archive: Path, folder: Path) -> None:
    where = str(archive)
    try:
        room = FREE_BYTES + MAX_RATIO * archive.stat().st_size
        seen: set[str] = set()
        with _entries(archive) as entries:
            for entry in entries:
                target = folder / _checked_name(entry.name, where)
                key = str(target.relative_to(folder)).casefold()
                if key in seen and not entry.is_folder:
                    raise DataError("a name appears twice in the archive", where, entry.name, "refused")
                seen.add(key)
                if len(seen) > MAX_ENTRIES:
                    raise DataError("too many entries in the archive", where, f"over {MAX_ENTRIES}", "refused")
                if entry.is_folder:
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                room -= _written(entry, target, room, where)
    except _DAMAGE as error:
        raise DataError("damaged or encrypted archive", where, str(error)[:100], "get the file again") from error
    except ValueError as error:
        raise DataError("damaged archive", where, str(error)[:100], "get the file again") from error
    except OSError as error:
        # Damaged compressed streams are reported as OSError without a number; real ones carry one.
        if error.errno is None:
            raise DataError("damaged archive", where, str(error)[:100], "get the file again") from error
        raise EnvironmentFault("cannot unpack", where, error.strerror or error, "check space and rights") from error


def _written(entry: _Entry, target: Path, room: int, where: str) -> int:
    """Write one file, counting while it inflates; return its size."""
    written = 0
    with entry.open() as source, target.open("xb") as stream:
        while piece := source.read(PIECE_BYTES):
            written += len(piece)
            if written > room:
                raise DataError("the archive inflates without bounds", where, entry.name, "refused")
            stream.write(piece)
    return written


def _checked_name(name: str, where: str) -> PurePosixPath:
    parts = name.split("/")
    legal = not name.startswith("/") and ".." not in parts and "\\" not in name and "\0" not in name
    path = PurePosixPath(name)
    # A colon in the first part is a drive or a stream on some systems.
    if not legal or not path.parts or ":" in path.parts[0] or len(name) > 1024:
        raise DataError("an entry would land outside the folder", where, repr(name[:100]), "refused")
    return path


@contextmanager
def _entries(archive: Path) -> Iterator[Iterator[_Entry]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as container:
            yield _zip_entries(container, str(archive))
        return
    with inflated(archive) as stream, closing(_tar(stream)) as container:
        yield _tar_entries(container, stream, str(archive))


def _tar(stream: TarStream) -> tarfile.TarFile:
    stream.begin_header()
    return tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:")  # it reads, seeks and tells, nothing else


def _zip_entries(container: zipfile.ZipFile, where: str) -> Iterator[_Entry]:
    for info in container.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError("a link or device in the archive", where, info.filename, "refused")
        yield _Entry(info.filename, info.is_dir(), lambda info=info: container.open(info))


def _tar_entries(container: tarfile.TarFile, stream: TarStream, where: str) -> Iterator[_Entry]:
    while (member := container.next()) is not None:
        if not (member.isreg() or member.isdir()) or member.issparse():
            raise DataError("a link or device in the archive", where, member.name, "refused")
        if container.offset < stream.tell():
            raise tarfile.ReadError("an entry of a negative size")
        stream.begin_content()
        if not (member.isdir() and member.name in (".", "./")):
            yield _Entry(member.name, member.isdir(), lambda member=member: _tar_stream(container, member))
        container.members.clear()  # type: ignore[attr-defined]  # each holds all that its header says
        stream.begin_header()
    stream.begin_content()
    _check_tar_end(container)


def _check_tar_end(container: tarfile.TarFile) -> None:
    """Refuse a tar that just stops: the reader takes that for its end, and leaves checksums behind it unread."""
    stream = container.fileobj
    assert stream is not None
    if stream.tell() <= container.offset:
        raise tarfile.ReadError("no end mark")
    padding = 0
    while piece := stream.read(PIECE_BYTES):
        padding += len(piece)
        if padding > FREE_BYTES:
            raise tarfile.ReadError("data behind the end mark")


def _tar_stream(container: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = container.extractfile(member)
    if stream is None:
        raise tarfile.ReadError(f"no content for {member.name}")
    return stream
