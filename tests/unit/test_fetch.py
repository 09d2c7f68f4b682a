"""A download is the right file or no file, whatever the server does."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import http.server
import io
import re
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import LocalServer, file_server, wanted_start
from processes import warm_context

from accel_yolo import fetch, transfer
from accel_yolo.errors import EnvironmentFault
from accel_yolo.fetch import download, remote_size

CONTENT = bytes(range(256)) * 3000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(LocalServer):
    """A web server on this machine that misbehaves as told."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, str | None]] = []
        self.cut_after: list[int] = []
        self.etag = '"one"'

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.requests.append((handler.path, asked))
        body, kind = CONTENT, "application/octet-stream"
        if handler.path == "/page":
            body, kind = b"<!DOCTYPE html><html><body>sign in</body></html>", "text/html"
        if handler.path in ("/404", "/503"):
            handler.send_error(int(handler.path[1:]))
            return
        if handler.path == "/empty":
            body = b""
        if handler.path in ("/away", "/file-scheme", "/loop"):
            target = {"/away": "/data", "/file-scheme": "file:///etc/hostname", "/loop": "/loop"}[handler.path]
            handler.send_response(302)
            handler.send_header("Location", target)
            handler.end_headers()
            return
        start = wanted_start(handler, body, self.etag)
        if start is None:
            return
        status = 206 if start else 200
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) - start))
        handler.send_header("Content-Type", kind)
        handler.send_header("ETag", self.etag)
        handler.end_headers()
        if handler.command == "HEAD":
            return
        stop = start + self.cut_after.pop(0) if self.cut_after else len(body)
        handler.wfile.write(body[start:stop])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(fetch, "BACKOFF_S", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server().running() as running:
        yield running


def refused(server: LocalServer, path: str, target: Path, *words: str, **options: object) -> str:
    with pytest.raises(EnvironmentFault) as raised:
        download(server.base + path, target, allow_http=True, timeout_s=5, **options)  # type: ignore[arg-type]
    line = str(raised.value)
    assert "\n" not in line and server.base + path in line
    for word in words:
        assert word in line, line
    assert not target.exists()
    assert not list(target.parent.glob("*.part"))
    return line


def test_a_file_arrives_whole_and_leaves_no_partial_file(server, tmp_path):
    target = tmp_path / "new" / "file.bin"
    assert download(server.base + "/data", target, size=len(CONTENT), sha256=DIGEST, allow_http=True) == target
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir() if not path.name.startswith(".")] == ["file.bin"]


def test_a_file_that_is_already_there_is_not_fetched_again(server, tmp_path):
    target = tmp_path / "file.bin"
    target.write_bytes(CONTENT)
    download(server.base + "/data", target, size=len(CONTENT), sha256=DIGEST, allow_http=True)
    assert server.requests == []


def test_a_file_of_the_wrong_size_is_replaced(server, tmp_path):
    target = tmp_path / "file.bin"
    target.write_bytes(b"half")
    download(server.base + "/data", target, size=len(CONTENT), allow_http=True)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("start", [threading.Thread, warm_context().Process], ids=["threads", "processes"])
def test_of_several_one_downloads_and_the_others_wait(server, tmp_path, start):
    target = tmp_path / "file.bin"
    options = {"size": len(CONTENT), "allow_http": True}
    several = [start(target=download, args=(server.base + "/data", target), kwargs=options) for _ in range(3)]
    for one in several:
        one.start()
    for one in several:
        one.join()
    assert len(server.requests) == 1 and target.read_bytes() == CONTENT


def test_a_broken_transfer_is_continued_where_it_stopped(server, tmp_path):
    server.cut_after = [100_000, 50_000]
    download(server.base + "/data", tmp_path / "f", sha256=DIGEST, allow_http=True)
    assert [asked for _, asked in server.requests] == [None, "bytes=100000-", "bytes=150000-"]
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_fetched_from_the_start(server, tmp_path):
    server.cut_after = [100_000]
    original = server.answer

    def answer(handler):
        original(handler)
        server.etag = '"two"'

    server.answer = answer
    download(server.base + "/data", tmp_path / "f", sha256=DIGEST, allow_http=True)
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_transfer_that_never_completes_is_an_error(server, tmp_path):
    server.cut_after = [10, 10, 10]
    refused(server, "/data", tmp_path / "f", "3 attempts", f"expected {len(CONTENT)} bytes, got 30")


def test_a_wrong_digest_names_both(server, tmp_path):
    refused(server, "/data", tmp_path / "f", "expected sha256 " + "0" * 64, DIGEST, "; another file", sha256="0" * 64)


def test_a_wrong_size_is_noticed_before_the_transfer(server, tmp_path):
    refused(server, "/data", tmp_path / "f", "expected 5 bytes", str(len(CONTENT)), size=5)


@pytest.mark.parametrize(
    ("path", "word", "remedy"),
    [("/page", "web page", "look at the address"), ("/404", "HTTP 404", "look at the address"),
     ("/503", "HTTP 503", "try again"), ("/empty", "empty", "try again"), ("/file-scheme", "not allowed", ""),
     ("/loop", "HTTP 302", "look at the address")],
)  # fmt: skip
def test_what_is_not_the_file_is_refused(server, tmp_path, path, word, remedy):
    refused(server, path, tmp_path / "f", word, f"; {remedy}")


def unfinished(server: Server, target: Path, arrived: int = 100_000) -> None:
    """Leave a transfer that broke off after some bytes, with what it needs to go on."""
    server.cut_after = [arrived, 0, 0]
    with pytest.raises(EnvironmentFault, match="3 attempts"):
        download(server.base + "/data", target, allow_http=True, resume=True)
    assert target.with_name("f.part").stat().st_size == arrived
    server.requests.clear()


def test_a_transfer_that_may_be_resumed_is_continued_by_the_next_call(server, tmp_path):
    unfinished(server, tmp_path / "f")
    download(server.base + "/data", tmp_path / "f", sha256=DIGEST, allow_http=True, resume=True)
    assert [asked for _, asked in server.requests] == ["bytes=100000-"]
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["f"]


def test_a_part_of_another_version_is_no_start(server, tmp_path):
    unfinished(server, tmp_path / "f")
    server.etag = '"two"'
    download(server.base + "/data", tmp_path / "f", sha256=DIGEST, allow_http=True, resume=True)
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_part_of_another_address_is_no_start(server, tmp_path):
    unfinished(server, tmp_path / "f")
    download(server.base + "/other", tmp_path / "f", sha256=DIGEST, allow_http=True, resume=True)
    assert [asked for _, asked in server.requests] == [None]


def test_a_part_that_is_already_whole_is_taken(server, tmp_path):
    unfinished(server, tmp_path / "f")
    (tmp_path / "f.part").write_bytes(CONTENT)
    download(server.base + "/data", tmp_path / "f", sha256=DIGEST, allow_http=True, resume=True)
    assert [asked for _, asked in server.requests] == [f"bytes={len(CONTENT)}-"]
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_damaged_part_is_found_by_its_digest_and_fetched_anew_the_next_time(server, tmp_path):
    unfinished(server, tmp_path / "f")
    (tmp_path / "f.part").write_bytes(bytes(100_000))
    with pytest.raises(EnvironmentFault, match="expected sha256"):
        download(server.base + "/data", tmp_path / "f", sha256=DIGEST, allow_http=True, resume=True)
    server.requests.clear()
    download(server.base + "/data", tmp_path / "f", sha256=DIGEST, allow_http=True, resume=True)
    assert [asked for _, asked in server.requests] == [None]


def test_a_long_transfer_may_break_often_as_long_as_it_gets_on(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "PROGRESS_BYTES", 100_000)
    server.cut_after = [100_000] * 7
    assert download(server.base + "/data", tmp_path / "f", sha256=DIGEST, allow_http=True).read_bytes() == CONTENT


def test_the_size_of_a_file_is_asked_without_fetching_it(server):
    assert remote_size(server.base + "/data", allow_http=True) == len(CONTENT)
    assert remote_size(server.base + "/503", allow_http=True) is None
    with pytest.raises(EnvironmentFault, match="HTTP 404"):
        remote_size(server.base + "/404", allow_http=True)
    with pytest.raises(EnvironmentFault, match="not https"):
        remote_size(server.base + "/data")


def test_a_missing_page_is_not_asked_for_again_but_a_busy_server_is(server, tmp_path):
    refused(server, "/404", tmp_path / "f")
    refused(server, "/503", tmp_path / "f")
    assert [path for path, _ in server.requests] == ["/404", "/503", "/503", "/503"]


def test_a_redirect_is_followed(server, tmp_path):
    assert download(server.base + "/away", tmp_path / "f", allow_http=True).read_bytes() == CONTENT


def test_a_redirect_down_from_https_is_refused():
    wanted = fetch._Wanted("https://example.org/x", None, None, 1.0, False)
    request = urllib.request.Request(wanted.url)
    with pytest.raises(EnvironmentFault, match="not https, http://example.org/x"):
        fetch._Redirects(wanted).redirect_request(
            request, io.BytesIO(), 302, "Found", http.client.HTTPMessage(), "http://example.org/x"
        )


@pytest.mark.parametrize(
    ("before", "after", "sha256", "allowed"),
    [
        ("https://a/x", "http://a/x", None, False),
        ("https://a/x", "http://a/x", DIGEST, True),
        ("http://127.0.0.1/x", "http://a/x", None, False),
        ("http://127.0.0.1/x", "http://localhost/x", None, True),
        ("http://a/x", "http://b/x", None, True),
        ("http://a/x", "https://b/x", None, True),
    ],
)
def test_a_redirect_leads_to_nothing_that_is_trusted_less(before, after, sha256, allowed):
    wanted = fetch._Wanted(before, None, sha256, 1.0, True)
    answer = (io.BytesIO(), 302, "Found", http.client.HTTPMessage(), after)
    if allowed:
        assert fetch._Redirects(wanted).redirect_request(urllib.request.Request(before), *answer) is not None
    else:
        with pytest.raises(EnvironmentFault, match=f"not https, {after}"):
            fetch._Redirects(wanted).redirect_request(urllib.request.Request(before), *answer)


def test_a_server_that_stalls_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "BACKOFF_S", 0.01)
    with file_server() as stalling:
        stalling.files["/f"], stalling.before_hold = CONTENT, 1000
        stalling.hold.clear()
        with pytest.raises(EnvironmentFault, match="3 attempts failed, .*timed out"):
            download(f"{stalling.base}/f", tmp_path / "f", allow_http=True, timeout_s=0.2)
        assert len(stalling.requests) == 3
    assert not list(tmp_path.glob("f*"))


class Trickle(LocalServer):
    """Sends a byte now and then: as content, as its length in pieces, or as headers; without end."""

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        start = {
            "/content": b"HTTP/1.1 200 OK\r\n\r\n",
            "/pieces": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "/headers": b"HTTP/1.1 200 OK\r\nX-Long: ",
        }
        with contextlib.suppress(OSError):  # the other side has gone
            handler.wfile.write(start[handler.path])
            for _ in range(2000):
                handler.wfile.write(b"0")
                time.sleep(0.01)


@pytest.mark.parametrize("path", ["/content", "/pieces", "/headers"])
def test_a_server_that_trickles_is_given_up(tmp_path, monkeypatch, path):
    monkeypatch.setattr(fetch, "BACKOFF_S", 0.01)
    monkeypatch.setattr(transfer, "WITHIN_S", 0.2)
    begin = time.monotonic()
    with Trickle().running() as server:
        refused(server, path, tmp_path / "f", "3 attempts failed, too slow: ", " bytes in 0 s")
    assert time.monotonic() - begin < 10


class Endless(LocalServer):
    """Sends without end, or says that it will."""

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if handler.path == "/announced":
            handler.send_header("Content-Length", str(1 << 60))
        handler.end_headers()
        with contextlib.suppress(OSError):  # the other side has gone
            while True:
                handler.wfile.write(bytes(1 << 16))


def test_a_file_without_end_is_given_up_before_the_disk_is_full(tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path).free
    monkeypatch.setattr(transfer, "RESERVE_BYTES", free - (2 << 20))
    with Endless().running() as server:
        line = refused(server, "/endless", tmp_path / "f", "no room, no end after ")
        refused(
            server,
            "/announced",
            tmp_path / "f",
            "cannot write, ",
            f"f.part: {1 << 60} bytes are needed and ",
            " are free",
        )
    assert int(re.findall(r"no end after (\d+)", line)[0]) <= 8 << 20


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "file:///etc/hostname", "ftp://127.0.0.1/x", "x"])
def test_only_https_is_spoken(tmp_path, url):
    with pytest.raises(EnvironmentFault, match="not https"):
        download(url, tmp_path / "f")


def test_no_server_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "BACKOFF_S", 0.01)
    with pytest.raises(EnvironmentFault, match="3 attempts failed") as raised:
        download("http://127.0.0.1:9/x", tmp_path / "f", allow_http=True)
    assert "\n" not in str(raised.value)
