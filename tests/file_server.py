"""A web server on this machine with files in memory: versions, ranges, and transfers that break as told."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class FileServer:
    """Serves `files` (path to content) and remembers every request.

    Attributes:
        files: what there is.
        requests: method, path and Range of each request, in order.
        cut_after: the next answers break off after so many bytes.
        hold: while it is not set, answers with content wait, after their first `before_hold` bytes.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.cut_after: list[int] = []
        self.hold = threading.Event()
        self.hold.set()
        self.before_hold = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def do_HEAD(self) -> None:
                outer.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_port}"

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
        start = 0
        if span and handler.headers.get("If-Range") == etag:
            start = int(span.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(body)}")
                handler.end_headers()
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
    threading.Thread(target=server.http.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.hold.set()
        server.http.shutdown()
        server.http.server_close()
