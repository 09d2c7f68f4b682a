"""A web server on this machine with files in memory: versions, ranges, and transfers that break as told."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class LocalServer:
    """A web server on a free port of this machine; what it answers is said by who derives from it.

    Attributes:
        base: its address.
        http: the server.
    """

    def __init__(self) -> None:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def do_HEAD(self) -> None:
                outer.answer(self)

            def do_POST(self) -> None:
                outer.answer(self)

            def do_PUT(self) -> None:
                outer.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        raise NotImplementedError

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Serve until the end of the context."""
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield self
        finally:
            self.http.shutdown()
            self.http.server_close()


def wanted_start(handler: http.server.BaseHTTPRequestHandler, body: bytes, etag: str) -> int | None:
    """Return from which byte on a request wants a body; None after answering that there is nothing from there on."""
    span = handler.headers.get("Range")
    if not span or handler.headers.get("If-Range") != etag:
        return 0
    start = int(span.removeprefix("bytes=").removesuffix("-"))
    if start < len(body):
        return start
    handler.send_response(416)
    handler.send_header("Content-Range", f"bytes */{len(body)}")
    handler.end_headers()
    return None


class FileServer(LocalServer):
    """Serves `files` (path to content) and remembers every request.

    Attributes:
        files: what there is.
        requests: method, path and Range of each request, in order.
        cut_after: the next answers break off after so many bytes.
        hold: while it is not set, answers with content wait, after their first `before_hold` bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.cut_after: list[int] = []
        self.hold = threading.Event()
        self.hold.set()
        self.before_hold = 0

    def asked(self, method: str = "GET") -> list[tuple[str, str | None]]:
        """Return path and Range of each request of a method."""
        return [(path, span) for kind, path, span in self.requests if kind == method]

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        span = handler.headers.get("Range")
        self.requests.append((handler.command, handler.path, span))
        body = self.files.get(handler.path)
        if body is None:
            handler.send_error(404)
            return
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        start = wanted_start(handler, body, etag)
        if start is None:
            return
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body) - start))
        handler.send_header("ETag", etag)
        handler.end_headers()
        if handler.command == "HEAD":
            return
        stop = start + self.cut_after.pop(0) if self.cut_after else len(body)
        pause = min(start + self.before_hold, stop)
        handler.wfile.write(body[start:pause])
        self.hold.wait(30)
        with contextlib.suppress(OSError):  # the other side may be gone
            handler.wfile.write(body[pause:stop])


@contextmanager
def file_server() -> Iterator[FileServer]:
    """Yield a running server."""
    server = FileServer()
    with server.running():
        try:
            yield server
        finally:
            server.hold.set()
