"""Downloads and archives: checked, locked, never executing anything."""

from __future__ import annotations

import contextlib
import errno
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from accel_yolo import console
from accel_yolo.archives import unpack
from accel_yolo.errors import EnvironmentFault
from accel_yolo.files import fsync_dir, fsync_file, locked, sha256_file, write_text_atomic
from accel_yolo.transfer import room_for, steady_handlers
from accel_yolo.version import __version__

__all__ = ["download", "download_again", "is_trusted_http", "remote_size", "unpack"]

ATTEMPTS = 3
BACKOFF_S = 0.5
PIECE_BYTES = 1 << 18
PROGRESS_BYTES = 16 << 20
LOCK_TIMEOUT_S = 3600.0
_HEADERS = {"User-Agent": f"accel-yolo/{__version__}"}


def download(
    url: str,
    destination: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    timeout_s: float = 30.0,
    allow_http: bool = False,
    resume: bool = False,
) -> Path:
    """Return `destination` after fetching `url` into it; a file that is already there and fits is kept.

    One process per machine downloads while the others wait. The file grows as `<name>.part` and is renamed when its
    size and digest are right; an interrupted transfer continues if the server still has the same version (ETag).

    Args:
        url: https only, redirects too, unless `allow_http`.
        destination: the file; its folder is made.
        size: expected bytes, if known.
        sha256: expected digest, if known.
        timeout_s: seconds without a byte before an attempt is given up, as is one that gets on too slowly.
        allow_http: for servers on this machine, and for files whose digest is known.
        resume: keep what has arrived when the transfer fails or this process dies, and continue it the next time.

    Raises:
        EnvironmentFault: naming the URL, what was expected and what came; the destination is then untouched.
    """
    wanted = _Wanted(url, size, sha256, timeout_s, allow_http)
    wanted.check_scheme(url)
    with locked(_lock_of(destination), LOCK_TIMEOUT_S):
        if destination.is_file() and wanted.fits(destination):
            return destination
        part = destination.with_name(f"{destination.name}.part")
        if resume:
            wanted.continue_from(part.with_name(f"{part.name}.etag"))
        else:
            part.unlink(missing_ok=True)
        _replace(wanted, destination, part, keep=resume)
    return destination


def download_again(url: str, destination: Path, *, timeout_s: float = 30.0, allow_http: bool = False) -> Path:
    """Return `destination` as `download` does, whatever is there; it can be read until the new one replaces it."""
    wanted = _Wanted(url, None, None, timeout_s, allow_http)
    wanted.check_scheme(url)
    with locked(_lock_of(destination), LOCK_TIMEOUT_S):
        part = destination.with_name(f"{destination.name}.part")
        part.unlink(missing_ok=True)
        _replace(wanted, destination, part, keep=False)
    return destination


def _lock_of(destination: Path) -> Path:
    return destination.with_name(f".{destination.name}.lock")


def _replace(wanted: _Wanted, destination: Path, part: Path, *, keep: bool) -> None:
    """Fetch the file into `part`, which then becomes `destination`; if that fails, the part is kept or removed."""
    try:
        _fetch(wanted, part)
        fsync_file(part)
        part.replace(destination)
        fsync_dir(destination.parent)
    finally:
        if not keep:
            part.unlink(missing_ok=True)
    wanted.forget()


def remote_size(url: str, *, timeout_s: float = 10.0, allow_http: bool = False) -> int | None:
    """Return how many bytes a server says that a file has, without fetching it; None when it does not say.

    Raises:
        EnvironmentFault: no connection, or no such file.
    """
    wanted = _Wanted(url, None, None, timeout_s, allow_http)
    wanted.check_scheme(url)
    request = urllib.request.Request(url, headers=_HEADERS, method="HEAD")
    try:
        with contextlib.closing(_opener(wanted).open(request, timeout=timeout_s)) as response:
            announced = response.headers.get("Content-Length", "")
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):  # some servers refuse the question, not the file
            raise wanted.failure(f"HTTP {error.code} {error.reason}", remedy=_OTHER_ADDRESS) from error
        return None
    except (OSError, http.client.HTTPException) as error:
        raise wanted.failure("no connection", _reason(error)) from error
    return int(announced) if announced.isdecimal() else None


def is_trusted_http(url: str, sha256: str | None) -> bool:
    """Return whether plain http will do: nobody stands between, or the digest tells what they did."""
    return sha256 is not None or urllib.parse.urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")


_OTHER_ADDRESS = "look at the address in a browser, and give the one of the file itself"
_ANOTHER_FILE = "another file lies there now: get this one elsewhere"


@dataclass
class _Wanted:
    url: str
    size: int | None
    sha256: str | None
    timeout_s: float
    allow_http: bool
    etag: str = ""
    note: Path | None = None
    """Where the version of a partial file is kept for the next process; None when it is not kept."""

    def continue_from(self, note: Path) -> None:
        """Take the version of the partial file from `note`, and keep it there from now on."""
        self.note = note
        with contextlib.suppress(OSError, UnicodeDecodeError):
            address, _, self.etag = note.read_text("utf-8").partition("\n")
            if address != self.url:
                self.etag = ""

    def versioned(self, etag: str) -> None:
        """Note the version of the file whose bytes come next; a weak tag says "about the same", not enough."""
        self.etag = "" if etag.startswith("W/") else etag
        if self.note is not None:
            write_text_atomic(self.note, f"{self.url}\n{self.etag}")

    def forget(self) -> None:
        """Remove the note: the file is complete, or useless."""
        if self.note is not None:
            self.note.unlink(missing_ok=True)

    def check_scheme(self, url: str) -> None:
        scheme = urllib.parse.urlsplit(url).scheme
        if scheme != "https" and not (scheme == "http" and self.allow_http):
            raise self.failure("refused: not https", url, _OTHER_ADDRESS)

    def failure(self, what: str, value: object = None, remedy: str = "try again") -> EnvironmentFault:
        return EnvironmentFault("cannot download", self.url, what if value is None else f"{what}, {value}", remedy)

    def fits(self, path: Path) -> bool:
        if self.size is not None and path.stat().st_size != self.size:
            return False
        return self.sha256 is None or sha256_file(path) == self.sha256

    def check(self, part: Path) -> None:
        """Raise unless the finished file is what was asked for."""
        got = part.stat().st_size
        if self.size is not None and got != self.size:
            raise self.failure(f"expected {self.size} bytes, got {got}")
        if got == 0:
            raise self.failure("the file is empty")
        if self.sha256 is not None and (digest := sha256_file(part)) != self.sha256:
            raise self.failure(f"expected sha256 {self.sha256}, got {digest}", remedy=_ANOTHER_FILE)
        with part.open("rb") as stream:
            start = stream.read(256).lstrip().lower()
        if start.startswith((b"<!doctype html", b"<html")) and not self.url.endswith((".html", ".htm")):
            raise self.failure("got a web page instead of a file", remedy=_OTHER_ADDRESS)


class _Incomplete(Exception):
    """A fault that another attempt may cure."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def __init__(self, wanted: _Wanted) -> None:
        self.wanted = wanted

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the next request; a step down to a connection that is trusted less is refused."""
        self.wanted.check_scheme(newurl)
        digest = self.wanted.sha256
        was_open = urllib.parse.urlsplit(req.full_url).scheme == "http" and not is_trusted_http(req.full_url, digest)
        is_http = urllib.parse.urlsplit(newurl).scheme == "http"
        if is_http and not was_open and not is_trusted_http(newurl, digest):
            raise self.wanted.failure("refused: not https", newurl, _OTHER_ADDRESS)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(wanted: _Wanted, part: Path) -> None:
    reason: object = ""
    failed = 0
    while failed < ATTEMPTS:
        if failed:
            time.sleep(BACKOFF_S * 2 ** (failed - 1))
        before = _size(part)
        try:
            _attempt(wanted, part)
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}"
            if error.code < 500 and error.code not in (408, 416, 429):
                raise wanted.failure(str(reason), remedy=_OTHER_ADDRESS) from error
            if error.code == 416:
                if _is_complete(error, part):
                    _require(wanted, part)
                    return
                part.unlink(missing_ok=True)
        except (OSError, http.client.HTTPException, _Incomplete) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise wanted.failure("cannot write", f"{part}: {error.strerror}", "free some space") from error
            reason = _reason(error)
        else:
            _require(wanted, part)
            return
        # A long transfer may break many times; what counts is that it gets on.
        failed = failed + 1 if _size(part) - before < PROGRESS_BYTES else 0
    raise wanted.failure(f"{ATTEMPTS} attempts failed", reason)


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _is_complete(refusal: urllib.error.HTTPError, part: Path) -> bool:
    """Return whether a server refused to continue a file because nothing is missing."""
    return refusal.headers.get("Content-Range", "").rpartition("/")[2] == str(_size(part))


def _require(wanted: _Wanted, part: Path) -> None:
    """Check the finished file; one that is not what was asked for is no start for another attempt."""
    try:
        wanted.check(part)
    except EnvironmentFault:
        part.unlink(missing_ok=True)
        wanted.forget()
        raise


def _reason(error: Exception) -> object:
    return getattr(error, "reason", None) or str(error) or type(error).__name__


def _opener(wanted: _Wanted) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Redirects(wanted), *steady_handlers())


def _attempt(wanted: _Wanted, part: Path) -> None:
    """Fetch the file, or what is missing of it, into `part`."""
    have = _size(part) if wanted.etag else 0
    request = urllib.request.Request(wanted.url, headers=_HEADERS)
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", wanted.etag)
    with contextlib.closing(_opener(wanted).open(request, timeout=wanted.timeout_s)) as response:
        have = have if response.status == 206 else 0
        announced = response.headers.get("Content-Length", "")
        remaining = int(announced) if announced.isdecimal() else None
        total = None if remaining is None else remaining + have
        if wanted.size is not None and total is not None and total != wanted.size:
            raise wanted.failure(f"expected {wanted.size} bytes, the server has {total}", remedy=_ANOTHER_FILE)
        room = room_for(part, remaining, have)
        progress = console.progress(None, remaining, f"download {part.stem}", "B")
        with part.open("ab" if have else "wb") as stream, progress:
            # After the old bytes are gone and before the first new one: the note never speaks of others.
            wanted.versioned(response.headers.get("ETag", ""))
            while piece := response.read(PIECE_BYTES):
                if stream.tell() - have + len(piece) > room:
                    raise wanted.failure("no room", f"no end after {stream.tell()} bytes", "free some space")
                stream.write(piece)
                progress.update(len(piece))
                if wanted.size is not None and stream.tell() > wanted.size:
                    raise wanted.failure(f"expected {wanted.size} bytes, got more", remedy=_ANOTHER_FILE)
            got = stream.tell()
    if total is not None and got != total:
        raise _Incomplete(f"expected {total} bytes, got {got}")
