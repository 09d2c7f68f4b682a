"""An archive from outside writes plain files inside its folder, or nothing."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from accel_yolo import archives
from accel_yolo.errors import DataError
from accel_yolo.fetch import unpack

FILES = {"set/images/a.jpg": b"pixels" * 1000, "set/labels/a.txt": b"0 .5 .5 .1 .1\n", "readme.txt": b"hello"}


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


WRITERS = {"zip": write_zip, "tar.gz": write_tar}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, folder: Path, words: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=words) as raised:
        unpack(archive, folder)
    assert "\n" not in str(raised.value) and archive.name in str(raised.value)
    assert contents(folder) == {"mine.txt": b"mine"}
    assert sorted(path.name for path in folder.parent.iterdir()) == sorted({folder.name, archive.name})


@pytest.mark.parametrize("kind", WRITERS)
def test_files_are_unpacked_into_the_folder(tmp_path, kind):
    archive = WRITERS[kind](tmp_path / f"data.{kind}", FILES)
    made = unpack(archive, tmp_path / "out")
    assert made == [tmp_path / "out" / "readme.txt", tmp_path / "out" / "set"]
    assert contents(tmp_path / "out") == FILES


@pytest.mark.parametrize("mode", ["w", "w:bz2", "w:xz"])
def test_every_common_compression_of_tar_is_read(tmp_path, mode):
    unpack(write_tar(tmp_path / "data.tar", FILES, mode), tmp_path / "out")
    assert contents(tmp_path / "out") == FILES


def test_other_data_in_the_folder_stays(tmp_path):
    (tmp_path / "other").mkdir()
    unpack(write_zip(tmp_path / "data.zip", FILES), tmp_path)
    assert (tmp_path / "other").is_dir() and (tmp_path / "set/images/a.jpg").is_file()


def test_what_is_already_there_is_not_overwritten(tmp_path):
    archive = write_zip(tmp_path / "data.zip", FILES)
    (tmp_path / "out" / "set").mkdir(parents=True)
    with pytest.raises(DataError, match="already exists"):
        unpack(archive, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["set"]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    "name", ["../outside", "a/../../outside", "/tmp/outside", "a\\..\\..\\outside", "C:/outside", "..", "x" * 2000]
)
def test_names_that_lead_outside_are_refused(tmp_path, kind, name):
    archive = WRITERS[kind](tmp_path / f"data.{kind}", {"ok.txt": b"ok", name: b"outside"})
    refused(archive, tmp_path / "out", "outside the folder")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.BLKTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    archive = tmp_path / "data.tar"
    with tarfile.open(archive, "w") as stream:
        member = tarfile.TarInfo("thing")
        member.type, member.linkname = kind, "/etc/passwd"
        stream.addfile(member)
    refused(archive, tmp_path / "out", "link or device")


def test_links_in_a_zip_are_refused(tmp_path):
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        stream.writestr(info, "/etc/passwd")
    refused(archive, tmp_path / "out", "link or device")


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("again", ["a/b.txt", "A/B.txt", "a//b.txt", "./a/b.txt"])
def test_repeated_names_are_refused(tmp_path, kind, again):
    archive = tmp_path / f"data.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as stream, pytest.warns() if again == "a/b.txt" else _nothing():
            stream.writestr("a/b.txt", b"1")
            stream.writestr(again, b"2")
    else:
        with tarfile.open(archive, "w:gz") as stream:
            for name in ("a/b.txt", again):
                stream.addfile(tarfile.TarInfo(name))
    refused(archive, tmp_path / "out", "twice")


def _nothing():
    import contextlib

    return contextlib.nullcontext()


@pytest.mark.parametrize("kind", WRITERS)
def test_a_bomb_is_stopped_while_it_inflates(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 16)
    archive = WRITERS[kind](tmp_path / f"data.{kind}", {"zeros": bytes(8 << 20)})
    refused(archive, tmp_path / "out", "without bounds")


def test_a_zip_that_lies_about_sizes_is_stopped_or_called_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 16)
    archive = write_zip(tmp_path / "data.zip", {"zeros": bytes(8 << 20)})
    content = archive.read_bytes()
    archive.write_bytes(content.replace((8 << 20).to_bytes(4, "little"), (9).to_bytes(4, "little")))
    refused(archive, tmp_path / "out", "damaged|without bounds")


def test_too_many_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_ENTRIES", 3)
    refused(write_zip(tmp_path / "data.zip", {f"{i}": b"" for i in range(4)}), tmp_path / "out", "too many entries")


def test_an_encrypted_zip_is_refused(tmp_path):
    archive = write_zip(tmp_path / "data.zip", {"a": b"secret"})
    content = bytearray(archive.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(bytes(content))
    refused(archive, tmp_path / "out", "encrypted")


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.95])
def test_a_truncated_archive_is_refused(tmp_path, kind, share):
    archive = WRITERS[kind](tmp_path / f"data.{kind}", FILES)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    refused(archive, tmp_path / "out", "damaged|encrypted")


def test_a_tar_that_stops_between_two_files_is_refused(tmp_path):
    archive = write_tar(tmp_path / "data.tar", FILES, "w")
    archive.write_bytes(archive.read_bytes()[: 512 + 6144])
    refused(archive, tmp_path / "out", "no end mark")


def test_a_flipped_bit_is_noticed(tmp_path):
    archive = write_zip(tmp_path / "data.zip", {"a": bytes(range(256)) * 50})
    content = bytearray(archive.read_bytes())
    content[60] ^= 4
    archive.write_bytes(bytes(content))
    refused(archive, tmp_path / "out", "damaged")


def test_a_web_page_is_no_archive(tmp_path):
    archive = tmp_path / "data.zip"
    archive.write_text("<html>sign in</html>")
    refused(archive, tmp_path / "out", "damaged")
