"""Which images a source names."""

from __future__ import annotations

import contextlib
import http.server
import io
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from file_server import LocalServer
from PIL import Image

from accel_yolo.data.images import read_image
from accel_yolo.errors import ConfigError, DataError, EnvironmentFault
from accel_yolo.inference.sources import reading
from accel_yolo.inference.sources.frames import Frame, Unreadable
from accel_yolo.inference.sources.items import Item
from accel_yolo.inference.sources.named import distinct_stems, find_items


class _Contents(LocalServer):
    """Answers with the kind of content that the path names; what ends in /whole has a length."""

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        kind = handler.path.strip("/")
        if "/" not in kind:
            handler.send_error(404)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", kind.removesuffix("/whole"))
        if kind.endswith("/whole"):
            handler.send_header("Content-Length", "0")
        handler.end_headers()


@contextlib.contextmanager
def content_server() -> Iterator[str]:
    """Yield the address of a server whose paths are kinds of content."""
    with _Contents().running() as server:
        yield server.base


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "c.webp", "notes.md", "below/d.jpg", "below/deeper/e.bmp", "mit leerzeichen é.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not looked into here")
    return tmp_path / "photos"


def find_images(source: str) -> list[Path]:
    """Return the files that a source of images names."""
    items = find_items(source)
    assert {item.kind for item in items} == {"image"}
    return [Path(item.word) for item in items]


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_file_names_itself(folder: Path) -> None:
    assert find_images(str(folder / "a.PNG")) == [folder / "a.PNG"]


def test_a_folder_names_its_own_images_sorted(folder: Path) -> None:
    assert names(find_images(str(folder))) == ["a.PNG", "b.jpg", "c.webp", "mit leerzeichen é.jpg"]


@pytest.mark.parametrize(("pattern", "expected"), [
    ("*.jpg", ["b.jpg", "mit leerzeichen é.jpg"]),
    ("**/*", ["a.PNG", "b.jpg", "d.jpg", "e.bmp", "c.webp", "mit leerzeichen é.jpg"]),
    ("[ab].*", ["a.PNG", "b.jpg"]),
    ("?.jpg", ["b.jpg"]),
    ("below/../?.jpg", ["b.jpg"]),
])  # fmt: skip
@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
def test_a_pattern_names_the_images_that_match(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, expected: list[str], relative: bool
) -> None:
    monkeypatch.chdir(folder)
    assert names(find_images(pattern if relative else f"{folder}/{pattern}")) == expected


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "photo[1].jpg"
    path.touch()
    assert find_images(str(path)) == [path]


def test_a_list_names_images_in_its_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    absolute = folder / "c.webp"
    (folder / "list.txt").write_text(f"\ufeffphotos/b.jpg\n\n  ./a.PNG \n{absolute}\nphotos/b.jpg\n", encoding="utf-8")
    found = find_images("photos/list.txt")
    assert [path.resolve() for path in found] == [folder / "b.jpg", folder / "a.PNG", absolute, folder / "b.jpg"]


@pytest.mark.parametrize("source", ["nowhere", "nowhere/*.jpg", "", "empty", "empty.txt", "notes.md", "latin1.txt"])
def test_a_source_without_images_is_a_data_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "notes.md").write_text("text")
    (tmp_path / "latin1.txt").write_bytes(b"h\xe4user.jpg")
    with pytest.raises(DataError, match=re.escape(source) or "''"):
        find_images(source)


def kinds(items: list[Item]) -> list[tuple[str, str]]:
    return [(item.kind, item.word) for item in items]


def test_a_folder_and_a_pattern_name_images_first_then_videos_each_sorted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b.mp4", "a.AVI", "z.jpg"):
        (folder / name).touch()
    monkeypatch.chdir(folder.parent)
    expected = ["a.PNG", "b.jpg", "c.webp", "mit leerzeichen é.jpg", "z.jpg", "a.AVI", "b.mp4"]
    items = find_items("photos")
    assert [Path(item.word).name for item in items] == expected
    assert [item.kind for item in items] == ["image"] * 5 + ["video"] * 2
    assert [item.label for item in items][-1] == "video 7/7"
    assert [Path(item.word).name for item in find_items("photos/*.*")] == expected
    assert kinds(find_items("photos/b.mp4")) == [("video", "photos/b.mp4")]


@pytest.mark.parametrize(("source", "stem"), [
    ("0", "camera0"),
    ("rtsp://user:secret@host:554/live/ch1", "host_554_live_ch1"),
    ("udp://239.0.0.1:1234", "239.0.0.1_1234"),
])  # fmt: skip
def test_cameras_and_addresses_of_other_protocols_are_streams_whose_names_hold_no_password(
    source: str, stem: str
) -> None:
    (item,) = find_items(source)
    assert (item.kind, item.stem) == ("stream", stem)
    assert "secret" not in item.shown


def test_addresses_that_end_like_files_are_files(tmp_path: Path) -> None:
    for address, kind, stem in (
        ("https://example.org/a/bus.jpg?w=640", "image", "bus"),
        ("http://example.org/clip%20one.MP4", "video", "clip_one"),
    ):
        (item,) = find_items(address)
        assert (item.kind, item.stem, item.word) == (kind, stem, address)


def test_the_server_says_what_an_address_without_an_ending_is() -> None:
    with content_server() as base:
        assert find_items(f"{base}/image/jpeg")[0].kind == "image"
        assert find_items(f"{base}/multipart/x-mixed-replace")[0].kind == "stream"
        assert find_items(f"{base}/video/mp4/whole")[0].kind == "video"
        assert find_items(f"{base}/video/mp2t")[0].kind == "stream"
        with pytest.raises(DataError, match="a web page, not an image or video: "):
            find_items(f"{base}/text/html")
        with pytest.raises(EnvironmentFault, match="cannot open: .*HTTP 404"):
            find_items(f"{base}/gone")
    with pytest.raises(EnvironmentFault, match="cannot open: .*refused"):
        find_items(f"{base}/image/jpeg")


def test_a_list_may_hold_videos_and_addresses_but_nothing_without_an_end(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("./a.jpg\nhttps://example.org/x/a.png\n./a.mp4\nno-ending\n")
    items = find_items(str(tmp_path / "list.txt"))
    assert [item.kind for item in items] == ["image", "image", "video", "image"]
    assert [item.stem for item in items] == ["a", "a-2", "a-3", "no-ending"]
    for line in ("0", "rtsp://camera/1", "screen"):
        (tmp_path / "list.txt").write_text(f"./a.jpg\n{line}\n")
        with pytest.raises(ConfigError, match=f"not a file in a list of files: {line}; .*streams file"):
            find_items(str(tmp_path / "list.txt"))


def test_what_an_address_of_a_list_is_its_server_says_when_it_is_read(tmp_path: Path) -> None:
    paths = ("gone", "text/html", "multipart/x-mixed-replace")
    with content_server() as base:
        (tmp_path / "list.txt").write_text("".join(f"{base}/{path}\n" for path in paths))
        items = find_items(str(tmp_path / "list.txt"))
        assert [item.label for item in items] == ["file 1/3", "file 2/3", "file 3/3"]
        errors = [str(seen.error) for seen in reading.read_items(items) if isinstance(seen, Unreadable)]
    for error, says in zip(errors, ("HTTP 404", "a web page, not an image", "not a file in a list"), strict=True):
        assert says in error


def test_a_streams_file_names_one_camera_or_address_a_line(tmp_path: Path) -> None:
    path = tmp_path / "cameras.streams"
    path.write_text("0\n\nrtsp://a/1\nhttp://b:8080/video\n")
    items = find_items(str(path))
    assert kinds(items) == [("stream", "0"), ("stream", "rtsp://a/1"), ("stream", "http://b:8080/video")]
    assert [item.label for item in items] == ["stream 1/3", "stream 2/3", "stream 3/3"]
    path.write_text("0\nclip.mp4\n")
    with pytest.raises(ConfigError, match=r"not a stream in .*cameras\.streams: clip\.mp4; "):
        find_items(str(path))


@pytest.mark.parametrize(("source", "says"), [
    ("screen", "the screen is not supported"),
    ("screen 0 100 100 512 256", "the screen is not supported"),
    ("https://www.youtube.com/watch?v=x", "YouTube is not supported: .*yt-dlp"),
    ("https://youtu.be/x", "YouTube is not supported"),
    ("http://[bad", "not an address"),
])  # fmt: skip
def test_what_cannot_be_a_source_is_refused_in_one_line(source: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        find_items(source)


def stdin_of(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_standard_input_is_a_list_of_paths_of_any_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin_of(monkeypatch, b"a.jpg\r\n\nb\xff.png\nclip.mp4")
    words = ["a.jpg", os.fsdecode(b"b\xff.png"), "clip.mp4"]
    assert [item.word for item in find_items("-")] == words
    stdin_of(monkeypatch, b" \n")
    with pytest.raises(DataError, match="standard input is empty"):
        find_items("-")


@pytest.mark.parametrize("kinds", [("PNG",), ("JPEG",), ("BMP",), ("JPEG", "PNG", "PROGRESSIVE", "JPEG", "BMP")])
def test_standard_input_is_encoded_images_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(1)
    images, contents = [rng.integers(0, 255, (40, 60, 3), np.uint8) for _ in kinds], []
    for image, kind in zip(images, kinds, strict=True):
        stream = io.BytesIO()
        progressive = {"progressive": True} if kind == "PROGRESSIVE" else {}
        Image.fromarray(image).save(stream, "JPEG" if progressive else kind, **progressive)
        contents.append(stream.getvalue())
    stdin_of(monkeypatch, b"".join(contents))
    items = find_items("-")
    assert [item.content for item in items] == contents
    assert items[0].stem == "stdin" and len({item.stem for item in items}) == len(items)


def test_the_end_of_a_thumbnail_is_not_the_end_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    thumbnail = io.BytesIO()
    Image.new("RGB", (8, 8)).save(thumbnail, "JPEG")
    Image.new("RGB", (64, 64)).save(stream, "JPEG", exif=b"Exif\0\0" + thumbnail.getvalue())
    stdin_of(monkeypatch, stream.getvalue() * 3)
    assert [item.content for item in find_items("-")] == [stream.getvalue()] * 3


@pytest.mark.parametrize(("images_of_room", "at_once"), [(100, 5), (2, 2), (0, 1)])
def test_the_larger_images_are_the_fewer_are_decoded_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images_of_room: int, at_once: int
) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    begun, taken, most = 0, 0, 0
    changed = threading.Lock()

    def counted(name: str) -> np.ndarray:
        nonlocal begun, most
        with changed:
            begun += 1
            if taken:
                most = max(most, begun - taken)
        return read_image(name)

    monkeypatch.setattr(reading, "read_image", counted)
    monkeypatch.setattr(reading, "MOST_BYTES", images_of_room * 40 * 30 * 3)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    items = [Item(str(tmp_path / "a.png"), "image", str(number)) for number in range(30)]
    for number, seen in enumerate(reading.read_items(items)):
        assert isinstance(seen, Frame) and seen.picture.stem == str(number)
        time.sleep(0.002)
        taken += 1
    # The one that was taken last is counted until the next one is asked for.
    assert at_once <= most <= at_once + 1


def test_files_of_a_video_and_of_an_image_do_not_meet(tmp_path: Path) -> None:
    for name in ("clip.mp4", "clip_12.jpg", "clip.jpg"):
        (tmp_path / name).touch()
    assert [item.stem for item in find_items(str(tmp_path))] == ["clip", "clip_12", "clip-video"]


def test_files_made_from_images_of_one_name_do_not_meet() -> None:
    paths = [Path(p) for p in ("a/x.jpg", "b/x.jpg", "b/X.png", "x-2.jpg", "y.jpg", "a/x.jpg")]
    stems = distinct_stems(paths)
    assert stems[0] == "x"
    assert stems[3:5] == ["x-2", "y"]
    assert len({stem.casefold() for stem in stems}) == len(paths)
    assert distinct_stems([]) == []


def test_thousands_of_files_of_one_name_are_numbered_in_the_order_given() -> None:
    # Looking for the next free number from the start each time took minutes.
    stems = distinct_stems(Path(f"{folder}/x.jpg") for folder in range(20_000))
    assert stems == ["x", *(f"x-{number}" for number in range(2, 20_001))]
