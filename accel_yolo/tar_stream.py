"""What a tar archive inflates to, read from its start to its end: headers have a limit, and so has the memory of xz."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

MAX_HEADER_BYTES = 64 << 10
"""Bytes that may describe one entry: its long name and whatever else a pax header says of it."""
MAX_XZ_BYTES = 128 << 20
"""Memory that xz may take; `xz -9` asks for half of it."""

PIECE_BYTES = 1 << 20

# Readers of pax headers look for a number in front of a word, in a time that is quadratic in the digits; the parts of
# a path have 255 letters at most.
_MANY_DIGITS = re.compile(rb"[0-9]{300}")


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class TarStream:
    """Bytes of a tar archive in their order, for `tarfile`, which reads whole headers on the word of a size."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._position = 0
        self._room: int | None = None

    def begin_header(self) -> None:
        """From now on a header is read, which has a limit."""
        self._room = MAX_HEADER_BYTES

    def begin_content(self) -> None:
        """From now on content is read; who reads it counts."""
        self._room = None

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; fewer at the end.

        Raises:
            tarfile.ReadError: a header that is too large.
        """
        if size < 0 or (self._room is not None and size > self._room):
            raise tarfile.ReadError(f"a header of more than {MAX_HEADER_BYTES} bytes")
        content = self._source.read(size)
        self._position += len(content)
        if self._room is not None:
            self._room -= len(content)
            if _MANY_DIGITS.search(content):
                raise tarfile.ReadError("a header with a number of hundreds of digits")
        return content

    def tell(self) -> int:
        """Return how many bytes have been read."""
        return self._position

    def seek(self, position: int) -> int:
        """Skip up to `position`.

        Raises:
            tarfile.ReadError: it lies behind: a size in the archive is negative.
        """
        if position < self._position:
            raise tarfile.ReadError("an entry of a negative size")
        while self._position < position:
            skipped = len(self._source.read(min(PIECE_BYTES, position - self._position)))
            if not skipped:
                break
            self._position += skipped
        return self._position


@contextmanager
def inflated(archive: Path) -> Iterator[TarStream]:
    """Yield the content of a tar archive, plain or compressed by gzip, bzip2 or xz."""
    with archive.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        if start.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=file) as unzipped:
                yield TarStream(unzipped)
        elif start.startswith(b"BZh"):
            with bz2.BZ2File(file) as unzipped:
                yield TarStream(unzipped)
        elif start.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
            with io.BufferedReader(_Xz(file)) as unzipped:
                yield TarStream(unzipped)
        else:
            yield TarStream(file)


class _Xz(io.RawIOBase):
    """Inflates xz and its predecessor; that of Python has no limit of memory."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._reader = lzma.LZMADecompressor(memlimit=MAX_XZ_BYTES)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer, or a part of it; return how much, 0 at the end.

        Raises:
            EOFError: the file is cut short.
            lzma.LZMAError: it is damaged, or asks for more memory than is allowed.
        """
        while True:
            given = b""
            if self._reader.eof:
                given = self._reader.unused_data.lstrip(b"\0") or self._source.read(PIECE_BYTES).lstrip(b"\0")
                if not given:
                    return 0
                self._reader = lzma.LZMADecompressor(memlimit=MAX_XZ_BYTES)
            elif self._reader.needs_input:
                given = self._source.read(PIECE_BYTES)
                if not given:
                    raise EOFError("the compressed data end too early")
            content = self._reader.decompress(given, len(buffer))
            if content:
                buffer[: len(content)] = content
                return len(content)
