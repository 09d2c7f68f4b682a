"""Images and videos behind addresses: fetched whole, kept, fetched again when they have changed, never half."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from file_server import LocalServer, file_server
from videos import write_video

from accel_yolo import fetch
from accel_yolo.config.predict_schema import PredictConfig
from accel_yolo.errors import ConfigError, DataError, EnvironmentFault
from accel_yolo.inference import predict as command
from accel_yolo.inference.network import Network
from accel_yolo.inference.predict import predict
from accel_yolo.inference.sources.urls import fetched, is_url, stem_of_url, without_password


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bright_spot: Network) -> Path:
    """An empty working folder and cache; the detector is the known one; transfers are retried at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCEL_YOLO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(command, "load_network", lambda *_: bright_spot)
    monkeypatch.setattr(fetch, "BACKOFF_S", 0.0)
    return tmp_path


def run(source: str, **flags: Any) -> Path:
    return predict(PredictConfig(weights=("w.pt",), source=source, device="cpu", imgsz=(128,), **flags))


def test_a_file_is_fetched_once_and_again_when_it_has_changed() -> None:
    with file_server() as server:
        server.files["/a/photo.jpg"] = b"first"
        path = fetched(f"{server.base}/a/photo.jpg")
        assert path.name == "photo.jpg"
        assert path.read_bytes() == b"first"
        assert fetched(f"{server.base}/a/photo.jpg") == path
        assert len(server.asked()) == 1
        server.files["/a/photo.jpg"] = b"the second"
        assert fetched(f"{server.base}/a/photo.jpg").read_bytes() == b"the second"


def test_two_addresses_whose_files_have_one_name_do_not_meet() -> None:
    with file_server() as server:
        server.files |= {"/a/x.jpg": b"a", "/b/x.jpg": b"b"}
        assert [fetched(f"{server.base}/{folder}/x.jpg").read_bytes() for folder in "ab"] == [b"a", b"b"]


@pytest.mark.parametrize("path", [
    "/%2e%2e", "/%2F..%2F..%2Fx", "/a%00.jpg", "/.lock", "/" + "\u4e16" * 110 + ".jpg", "/gr\u00fcn und blau.jpg", "/",
], ids=["up", "slashes", "zero", "hidden", "long", "umlaut", "nothing"])  # fmt: skip
def test_whatever_an_address_ends_in_its_file_is_kept_in_the_cache(place: Path, path: str) -> None:
    with file_server() as server:
        server.files[quote(path, safe="/%")] = b"content"
        kept = fetched(f"{server.base}{path}")
    assert kept.read_bytes() == b"content"
    assert kept.resolve().parent.parent == place / "cache" / "sources"


def test_names_made_of_addresses_fit_into_a_folder() -> None:
    stem = stem_of_url("https://example.org/" + "\u4e16" * 110 + ".jpg")
    assert len(f"{stem}-123_123456789.txt.partial".encode()) < 255
    assert stem == "\u4e16" * 33


@pytest.mark.parametrize("url", ["http://a..b/x.jpg", "http://127.0.0.1:99999/x.jpg", "http://127.0.0.1:port/x.jpg"])
def test_what_cannot_be_asked_for_is_one_error(url: str) -> None:
    with pytest.raises((DataError, ConfigError), match="not an address"):
        fetched(url)


def test_a_cache_that_cannot_be_written_is_one_error(place: Path) -> None:
    (place / "cache").write_text("a file")
    with file_server() as server:
        server.files["/x.jpg"] = b"content"
        with pytest.raises(EnvironmentFault, match="set ACCEL_YOLO_CACHE to another folder"):
            fetched(f"{server.base}/x.jpg")


class _WithoutLength(LocalServer):
    """Never says how long its file is; answers with content wait while `hold` is not set."""

    def __init__(self) -> None:
        super().__init__()
        self.content, self.hold, self.begun = b"", threading.Event(), threading.Event()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        if handler.command == "GET":
            self.begun.set()
            self.hold.wait(20)
            handler.wfile.write(self.content)


def test_a_file_that_is_fetched_again_stays_readable_meanwhile() -> None:
    with _WithoutLength().running() as server:
        server.content = b"first"
        server.hold.set()
        path = fetched(f"{server.base}/x.jpg")
        server.hold.clear()
        server.begun.clear()
        server.content = b"again"
        other = threading.Thread(target=fetched, args=(f"{server.base}/x.jpg",))
        other.start()
        try:
            assert server.begun.wait(20)
            assert path.read_bytes() == b"first"
        finally:
            server.hold.set()
            other.join()
        assert path.read_bytes() == b"again"


def test_an_interrupted_transfer_leaves_nothing_that_could_pass_for_the_file(place: Path) -> None:
    with file_server() as server:
        server.files["/x.jpg"] = bytes(1000)
        server.cut_after = [10] * 20
        with pytest.raises(EnvironmentFault, match=f"cannot download in {server.base}/x.jpg: "):
            fetched(f"{server.base}/x.jpg")
    assert not list((place / "cache").rglob("*.jpg"))


def test_images_and_videos_behind_addresses_are_predicted_on(
    spot_image: Callable[..., np.ndarray], png: Callable[[np.ndarray], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    with file_server() as server:
        server.files["/photos/one.png"] = png(spot_image())
        server.files["/clip.mp4"] = write_video(Path("made.mp4"), 4).read_bytes()
        server.files["/page.jpg"] = b"<!DOCTYPE html><html>not found</html>"
        names = ("photos/one.png", "gone.png", "page.jpg", "clip.mp4")
        Path("list.txt").write_text("".join(f"{server.base}/{name}\n" for name in names))
        folder = run("list.txt")
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["clip.mp4", "one.png"]
    told = capsys.readouterr()
    assert f"image 1/4 {server.base}/photos/one.png: 128x128 1 person, 1 dog" in told.out
    assert "1 image and 4 frames of 1 video done, 2 skipped" in told.out
    assert "image 2/4 skipped: cannot download" in told.err and "HTTP 404" in told.err
    assert "image 3/4 skipped: cannot download" in told.err and "got a web page instead of a file" in told.err


class _WithoutEndings(LocalServer):
    """Serves `files` (path to type and content), of which the paths tell nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, tuple[str, bytes]] = {}

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.path not in self.files:
            handler.send_error(404)
            return
        kind, content = self.files[handler.path]
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(content)


def test_addresses_without_endings_in_a_list_are_images_and_videos_and_a_dead_one_is_skipped(
    spot_image: Callable[..., np.ndarray], png: Callable[[np.ndarray], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    with _WithoutEndings().running() as server:
        server.files["/photo"] = "image/png", png(spot_image())
        server.files["/clip"] = "video/mp4", write_video(Path("made.mp4"), 4).read_bytes()
        Path("list.txt").write_text("".join(f"{server.base}/{name}\n" for name in ("dead", "clip", "photo")))
        folder = run("list.txt")
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["clip.mp4", "photo.jpg"]
    told = capsys.readouterr()
    assert "file 1/3 skipped: cannot open" in told.err and "image 3/3" in told.out
    assert "1 image and 4 frames of 1 video done, 1 skipped" in told.out


def test_one_address_that_holds_no_image_is_one_error_and_no_folder() -> None:
    with file_server() as server:
        server.files |= {"/page.jpg": b"<html></html>", "/text.jpg": b"text"}
        with pytest.raises(EnvironmentFault, match="got a web page instead of a file"):
            run(f"{server.base}/page.jpg")
        with pytest.raises(DataError, match="not an image of a supported kind"):
            run(f"{server.base}/text.jpg")
        with pytest.raises(EnvironmentFault, match="HTTP 404"):
            run(f"{server.base}/gone.mp4")
    assert not Path("runs").exists()


def test_passwords_are_not_shown_and_files_behind_them_are_refused() -> None:
    assert without_password("rtsp://me:secret@cam:554/1") == "rtsp://cam:554/1"
    assert without_password("rtsp://me:sec@ret@cam/1") == "rtsp://cam/1"
    assert without_password("photos/a@b.jpg") == "photos/a@b.jpg"
    with pytest.raises(ConfigError, match="a file behind a password: https://cam/x.jpg"):
        fetched("https://me:secret@cam/x.jpg")


def test_words_with_a_protocol_are_addresses() -> None:
    assert [is_url(word) for word in ("https://a/b", "RTSP://a", "C:/a", "a.jpg", "12:30.mp4")] == [
        True, True, False, False, False,
    ]  # fmt: skip
