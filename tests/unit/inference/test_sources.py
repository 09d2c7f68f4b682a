"""Which images a source names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from accel_yolo.errors import ConfigError, DataError
from accel_yolo.inference.sources import distinct_stems, find_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "c.webp", "notes.md", "below/d.jpg", "below/deeper/e.bmp", "mit leerzeichen é.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not looked into here")
    return tmp_path / "photos"


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


@pytest.mark.parametrize("source", [
    "clip.mp4", "clips", "rtsp://camera/1", "https://example.org/bus.jpg", "0", "screen", "screen 0 100 100 512 256",
    "cameras.streams", "with_url.txt",
])  # fmt: skip
def test_sources_of_a_later_capability_stop_with_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", "clips/a.avi", "cameras.streams"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    Path("with_url.txt").write_text("https://example.org/bus.jpg\n")
    with pytest.raises(ConfigError, match="not available yet"):
        find_images(source)


def test_files_made_from_images_of_one_name_do_not_meet() -> None:
    paths = [Path(p) for p in ("a/x.jpg", "b/x.jpg", "b/X.png", "x-2.jpg", "y.jpg", "a/x.jpg")]
    stems = distinct_stems(paths)
    assert stems[0] == "x"
    assert stems[3:5] == ["x-2", "y"]
    assert len({stem.casefold() for stem in stems}) == len(paths)
    assert distinct_stems([]) == []
