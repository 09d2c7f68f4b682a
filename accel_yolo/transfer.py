"""What a server may do to a download: how slow it may be, and how much it may send."""

from __future__ import annotations

import errno
import http.client
import io
import shutil
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

LEAST_BYTES, WITHIN_S = 30_000, 60.0
"""What a server has to send in which time, its headers too, until its answer ends."""


RESERVE_BYTES = 256 << 20
"""What a file whose size nobody has said leaves free on the disk."""


def room_for(part: Path, asked: int | None, kept: int) -> int:
    """Return how many bytes may come for a file: what the server announces, else what the disk can spare.

    Args:
        part: the file as far as it is there.
        asked: bytes that are announced.
        kept: bytes of `part` that will not be replaced.

    Raises:
        OSError: (ENOSPC) the disk has no room for them.
    """
    had = part.stat().st_size if part.is_file() else 0
    free = shutil.disk_usage(part.parent).free + had - kept
    if asked is not None and asked > free:
        raise OSError(errno.ENOSPC, f"{asked} bytes are needed and {free} are free", str(part))
    return max(free - RESERVE_BYTES, 0) if asked is None else asked


def steady_handlers() -> list[urllib.request.BaseHandler]:
    """Return what makes `urllib.request` give up servers that are too slow, with a TimeoutError."""
    return [_Http(), _Https()]


class _Rate(io.RawIOBase):
    """Bytes from a connection, as long as enough of them come; time that the reader needs for itself does not count."""

    def __init__(self, source: io.RawIOBase) -> None:
        self._source = source
        self._came, self._waited_s = 0, 0.0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Fill a part of the buffer. Raises TimeoutError."""
        begin = time.monotonic()
        count = self._source.readinto(buffer)
        self._waited_s += time.monotonic() - begin
        self._came += count or 0
        if self._waited_s > WITHIN_S:
            if count and self._came < LEAST_BYTES:
                raise TimeoutError(f"too slow: {self._came} bytes in {self._waited_s:.0f} s")
            self._came, self._waited_s = 0, 0.0
        return count

    def close(self) -> None:
        """Close the connection."""
        self._source.close()
        super().close()


class _Socket:
    """A connected socket that is read through `_Rate`."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Rate(self._socket.makefile(mode, buffering=0)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


def _steadily(kind: type[http.client.HTTPConnection]) -> Callable[..., http.client.HTTPConnection]:
    class Steady(kind):
        def connect(self) -> None:
            super().connect()
            self.sock: Any = _Socket(self.sock)

    return Steady


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_steadily(http.client.HTTPConnection), req)  # type: ignore[arg-type]


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_steadily(http.client.HTTPSConnection), req)  # type: ignore[arg-type]
