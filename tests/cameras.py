"""A network camera on this machine: motion JPEG over HTTP, which can be cut off and come back."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
from videos import numbered_frame

_NUMBERS = 1024


class Camera:
    """Serves numbered frames at `url`, each of which comes `pause_s` after the one before.

    Attributes:
        url: its address.
        shown: how many frames have been sent; the number of a frame is its place among them, modulo 1024.
    """

    def __init__(self, pause_s: float = 0.01, hw: tuple[int, int] = (96, 192)) -> None:
        self.pause_s, self.hw, self.shown = pause_s, hw, 0
        self._server: http.server.ThreadingHTTPServer | None = None
        self._port = 0
        self._on = threading.Event()

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self._port}/live"

    def start(self) -> None:
        """Begin to serve, at the same address as before."""
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with contextlib.suppress(OSError):
                    while camera._on.is_set():
                        content = camera._next()
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
                        self.wfile.write(head.encode() + content + b"\r\n")
                        time.sleep(camera.pause_s)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._on.set()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Cut off everybody, and refuse connections."""
        self._on.clear()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _next(self) -> bytes:
        content = cv2.imencode(".jpg", numbered_frame(self.shown % _NUMBERS, self.hw))[1].tobytes()
        self.shown += 1
        return content


@contextmanager
def camera(pause_s: float = 0.01, hw: tuple[int, int] = (96, 192)) -> Iterator[Camera]:
    """Yield a running camera."""
    running = Camera(pause_s, hw)
    running.start()
    try:
        yield running
    finally:
        running.stop()
