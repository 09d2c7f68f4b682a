"""A data set that is not on disk is fetched as its YAML says: checked, continued, once, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import shutil
import socket
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from file_server import FileServer, file_server

from accel_yolo import fetch
from accel_yolo.config.dataset import load_data_spec
from accel_yolo.config.download import PREPARATIONS
from accel_yolo.data.index import build_index
from accel_yolo.data.published import obtain as obtaining
from accel_yolo.data.published.placing import place
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.errors import DataError, EnvironmentFault, UserError

NAMES = "names: [cat, dog]\n"
SPLITS = "path: pets\ntrain: images/train\nval: images/val\n"


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose data sets lie in ./datasets, and no proxy between."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ACCEL_YOLO_CACHE", str(tmp_path / "cache"))
    for name in (
        "ACCEL_YOLO_DATASETS_DIR",
        "YOLOv5_DATASETS_DIR",
        "http_proxy",
        "HTTP_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fetch, "BACKOFF_S", 0.01)
    return folder


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


def picture(value: int, hw: tuple[int, int] = (24, 32)) -> bytes:
    pixels = np.random.default_rng(value).integers(0, 255, (*hw, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def pets(*splits: str) -> dict[str, bytes]:
    """Return the files of some splits of a data set in YOLO's form: two images each."""
    found: dict[str, bytes] = {}
    for split in splits:
        for number in range(2):
            found[f"images/{split}/{number}.jpg"] = picture(len(split) * 10 + number)
            found[f"labels/{split}/{number}.txt"] = f"{number} 0.5 0.5 0.25 0.25\n".encode()
    return found


def zipped(files: dict[str, bytes], below: str = "") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(below + name, content)
    return stream.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def made(download: str, splits: str = SPLITS) -> str:
    Path("pets.yaml").write_text(splits + NAMES + download)
    return "pets.yaml"


def indexed(yaml: str, split: str = "train") -> SplitIndex:
    spec = load_data_spec(yaml)
    return build_index(spec, split, single_cls=False, bad_data="fail", workers=1)


def refused(yaml: str, error: type[UserError], *words: str) -> str:
    with pytest.raises(error) as raised:
        indexed(yaml)
    line = str(raised.value)
    assert "\n" not in line
    for word in words:
        assert word in line, line
    return line


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# From a YAML to an index


@pytest.mark.parametrize("below", ["", "pets/", "archive/"])
def test_a_url_is_enough_with_or_without_a_folder_in_the_archive(server: FileServer, work: Path, below: str) -> None:
    files = pets("train", "val")
    server.files["/archive.zip"] = zipped(files, below)
    index = indexed(made(f"download: {server.base}/archive.zip\n"))
    assert len(index) == 2
    assert index.labels[:, 0].tolist() == [0, 1]
    root = work / "datasets" / "pets"
    assert files_below(root) == {*files, obtaining.MARKER}
    assert [path.name for path in root.parent.iterdir() if path.name != ".pets.lock"] == ["pets"]
    server.requests.clear()
    assert len(indexed("pets.yaml", "val")) == 2
    assert server.requests == []


def test_an_unrelated_only_folder_is_the_data_set_when_it_holds_what_the_yaml_names(server: FileServer) -> None:
    server.files["/v1.zip"] = zipped(pets("train", "val"), "repository-main/")
    assert len(indexed(made(f"download: {server.base}/v1.zip\n"))) == 2


def test_several_archives_of_several_kinds_go_where_the_yaml_says(server: FileServer, work: Path) -> None:
    train, val = pets("train"), pets("val")
    images = {name.removeprefix("images/"): content for name, content in train.items() if name.startswith("images")}
    server.files["/train.tar.gz"] = tarred(images)
    server.files["/train_labels.tar"] = tarred({name: train[name] for name in train if name.startswith("labels")}, "w")
    server.files["/val.zip"] = zipped(val | {"__MACOSX/._x": b""})
    server.files["/names.csv"] = b"a,b\n"
    digest = hashlib.sha256(server.files["/val.zip"]).hexdigest()
    download = f"""download:
  - url: {server.base}/train.tar.gz
    into: images/train
  - {server.base}/train_labels.tar
  - url: {server.base}/val.zip
    sha256: {digest}
    size: {len(server.files["/val.zip"])}
  - url: {server.base}/names.csv
    into: extra
"""
    assert len(indexed(made(download))) == 2
    assert files_below(work / "datasets/pets") == {*train, *val, "extra/names.csv", obtaining.MARKER}


def test_a_range_in_a_url_is_several_archives(server: FileServer, work: Path) -> None:
    for number in range(2):
        part = {f"patch{number}/{name}": content for name, content in {f"{number}.jpg": picture(number)}.items()}
        server.files[f"/patch{number}.tar.gz"] = tarred(part)
    server.files["/labels.zip"] = zipped({f"train/patch{n}/{n}.txt": b"0 .5 .5 .1 .1\n" for n in range(2)})
    download = f"""download:
  - url: {server.base}/patch{{0..1}}.tar.gz
    into: images/train/patch{{0..1}}
  - url: {server.base}/labels.zip
    into: labels
"""
    index = indexed(made(download, SPLITS.replace("images/val", "images/train")))
    assert [Path(path).relative_to(work / "datasets/pets").as_posix() for path in index.paths] == [
        "images/train/patch0/0.jpg",
        "images/train/patch1/1.jpg",
    ]


def test_splits_as_published_are_used_where_the_others_are_not_on_disk(server: FileServer, work: Path) -> None:
    server.files["/a.zip"] = zipped(pets("train", "val"))
    splits = "path: pets\ntrain: train.txt\nval: val.txt\npublished:\n  train: images/train\n  val: images/val\n"
    yaml = made(f"download: {server.base}/a.zip\n", splits)
    assert load_data_spec(yaml).train == (work / "datasets/pets/images/train",)
    assert len(indexed(yaml)) == 2
    root = work / "datasets/pets"
    for split in ("train", "val"):
        (root / f"{split}.txt").write_text(f"./images/{split}/0.jpg\n")
    assert load_data_spec(yaml).train == (root / "train.txt",)


def test_two_archives_may_bring_one_file_twice_but_not_two_versions_of_it(tmp_path: Path) -> None:
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / f"{name}.zip").write_bytes(zipped({"kit/same.txt": content, f"kit/{name}.txt": content}))
    for name in "aba":
        place(tmp_path / f"{name}.zip", tmp_path / "set", tmp_path / "unpacked")
    assert files_below(tmp_path / "set") == {"kit/same.txt", "kit/a.txt", "kit/b.txt"}
    with pytest.raises(DataError, match=r"two archives bring different files .*c\.zip: .*same\.txt"):
        place(tmp_path / "c.zip", tmp_path / "set", tmp_path / "unpacked")


# No network


def test_nothing_is_asked_of_the_network_while_everything_is_there(server: FileServer, work: Path) -> None:
    for name, content in pets("train", "val").items():
        (work / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (work / "pets" / name).write_bytes(content)
    assert len(indexed(made(f"download: {server.base}/none.zip\n"))) == 2
    assert server.requests == []


def test_without_a_connection_one_line_says_what_to_get_and_where_to_put_it(work: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/pets.zip"
        line = refused(made(f"download:\n  - url: {url}\n    into: images\n"), EnvironmentFault, url, "no connection")
    assert line.endswith(f"get it elsewhere and unpack it so that there is {work}/datasets/pets/images/train")
    assert [path.name for path in (work / "datasets").iterdir()] == [".pets.lock"]


def test_plain_http_needs_a_digest() -> None:
    yaml = made("download: http://example.org/pets.zip\n")
    refused(yaml, EnvironmentFault, "http://example.org/pets.zip", "not https")
    assert fetch.is_trusted_http("http://example.org/pets.zip", "0" * 64)


# What goes wrong


def test_a_missing_file_on_the_server_is_named_before_anything_is_fetched(server: FileServer) -> None:
    server.files["/a.zip"] = zipped(pets("train"))
    refused(made(f"download: [{server.base}/a.zip, {server.base}/gone.zip]\n"), EnvironmentFault, "gone.zip", "404")
    assert server.asked() == []


def test_a_wrong_digest_names_both_and_leaves_no_data_set(server: FileServer, work: Path) -> None:
    server.files["/pets.zip"] = zipped(pets("train", "val"))
    digest = hashlib.sha256(server.files["/pets.zip"]).hexdigest()
    yaml = made(f"download:\n  url: {server.base}/pets.zip\n  sha256: {'0' * 64}\n")
    refused(yaml, EnvironmentFault, f"{server.base}/pets.zip", f"expected sha256 {'0' * 64}", f"got {digest}")
    assert not (work / "datasets/pets").exists()
    made(f"download:\n  url: {server.base}/pets.zip\n  sha256: {digest}\n")
    assert len(indexed(yaml)) == 2


@pytest.mark.parametrize("outside", ["../../outside.txt", "/tmp/outside.txt", "images/../../outside.txt"])
def test_an_archive_that_leads_outside_is_refused(server: FileServer, work: Path, outside: str) -> None:
    server.files["/pets.zip"] = zipped(pets("train", "val") | {outside: b"outside"})
    refused(made(f"download: {server.base}/pets.zip\n"), DataError, "outside the folder", "outside.txt")
    assert not (work / "datasets/pets").exists()
    assert not list(work.rglob("outside.txt"))


def test_a_damaged_archive_is_refused(server: FileServer, work: Path) -> None:
    whole = zipped(pets("train", "val"))
    at = whole.index(picture(50)[200:260])
    server.files["/pets.zip"] = whole[:at] + b"\0" * 60 + whole[at + 60 :]
    yaml = made(f"download: {server.base}/pets.zip\n")
    refused(yaml, DataError, "damaged", "pets.zip")
    assert not (work / "datasets/pets").exists()
    server.files["/pets.zip"] = whole  # the publisher has mended it
    assert len(indexed(yaml)) == 2


def test_a_data_set_that_its_user_removed_is_fetched_again(server: FileServer, work: Path) -> None:
    server.files["/pets.zip"] = zipped(pets("train", "val"))
    yaml = made(f"download: {server.base}/pets.zip\n")
    workshop = work / "datasets/.pets.partial"  # as a process leaves it that dies between its last two steps
    workshop.mkdir(parents=True)
    (workshop / "done.json").write_text(json.dumps([f"{server.base}/pets.zip  "]))
    assert len(indexed(yaml)) == 2


def test_a_data_set_that_came_without_what_the_yaml_names_is_not_fetched_again(server: FileServer) -> None:
    server.files["/pets.zip"] = zipped(pets("val"))
    yaml = made(f"download: {server.base}/pets.zip\n")
    refused(yaml, DataError, "pets.yaml", "does not hold", "images/train", "correct the path")
    server.requests.clear()
    refused(yaml, DataError, "does not hold")
    assert server.requests == []


def test_a_folder_with_a_part_of_the_data_set_is_the_users(server: FileServer, work: Path) -> None:
    mine = work / "datasets/pets/images/train/mine.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(picture(1))
    server.files["/pets.zip"] = zipped(pets("train", "val"))
    spec = load_data_spec(made(f"download: {server.base}/pets.zip\n"))
    with pytest.raises(DataError, match="incomplete.*no .*images/val; move .* away"):
        build_index(spec, "val", single_cls=False, bad_data="fail", workers=1)
    assert files_below(work / "datasets/pets") == {"images/train/mine.jpg"}


def test_too_little_room_is_an_error_before_the_first_byte(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/pets.zip"] = zipped(pets("train", "val"))
    monkeypatch.setattr(obtaining, "free_disk_bytes", lambda folder: 1000)
    refused(made(f"download: {server.base}/pets.zip\n"), EnvironmentFault, "no room", "needs 1 MiB", "make room")
    assert server.asked() == []


# Interrupted


def test_an_interrupted_fetch_goes_on_where_it_stopped(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/first.zip"] = zipped(pets("train"))
    server.files["/second.zip"] = zipped(pets("val"))
    yaml = made(f"download: [{server.base}/first.zip, {server.base}/second.zip]\n")
    whole = len(server.files["/second.zip"])
    server.cut_after = [len(server.files["/first.zip"]), 700, 100, 100]
    refused(yaml, EnvironmentFault, "second.zip", "3 attempts failed")
    server.requests.clear()
    assert len(indexed(yaml)) == 2
    # Not the first archive again, and of the second only what is missing.
    assert server.asked() == [("/second.zip", "bytes=900-")]
    assert whole > 900


def test_what_an_earlier_version_of_the_yaml_brought_does_not_stay(server: FileServer, work: Path) -> None:
    server.files["/old.zip"] = zipped(pets("old"))
    server.files["/train.zip"] = zipped(pets("train"))
    server.files["/val.zip"] = zipped(pets("val"))
    server.cut_after = [len(server.files["/old.zip"]), 10, 10, 10]
    refused(
        made(f"download: [{server.base}/old.zip, {server.base}/train.zip]\n"), EnvironmentFault, "3 attempts failed"
    )
    server.cut_after = []
    assert len(indexed(made(f"download: [{server.base}/train.zip, {server.base}/val.zip]\n"))) == 2
    assert not list(work.rglob("old"))


def test_a_killed_fetch_goes_on_where_it_stopped(server: FileServer, work: Path) -> None:
    noise = np.random.default_rng(0).bytes(3 * fetch.PIECE_BYTES)
    server.files["/pets.zip"] = zipped(pets("train", "val") | {"noise.bin": noise})
    yaml = made(f"download: {server.base}/pets.zip\n")
    server.hold.clear()
    server.before_hold = fetch.PIECE_BYTES
    fetcher = multiprocessing.get_context("fork").Process(target=indexed, args=(yaml,))
    fetcher.start()
    while not any(part.stat().st_size for part in work.glob("datasets/.pets.partial/archives/*/*.part")):
        assert fetcher.is_alive()
        time.sleep(0.02)
    fetcher.kill()
    fetcher.join(30)
    server.hold.set()
    server.requests.clear()
    assert len(indexed(yaml)) == 2
    assert server.asked() == [("/pets.zip", f"bytes={fetch.PIECE_BYTES}-")]


def test_a_file_that_changed_on_the_server_meanwhile_is_fetched_anew(server: FileServer) -> None:
    server.files["/pets.zip"] = zipped(pets("train"))
    yaml = made(f"download: {server.base}/pets.zip\n")
    server.cut_after = [700, 0, 0]
    refused(yaml, EnvironmentFault, "3 attempts")
    server.files["/pets.zip"] = zipped(pets("train", "val"))
    assert len(indexed(yaml)) == 2


def test_what_was_unpacked_half_when_a_process_died_is_unpacked_again(server: FileServer, work: Path) -> None:
    server.files["/pets.zip"] = zipped(pets("train", "val"))
    workshop = work / "datasets/.pets.partial"
    for half in ("unpacked/images/train/0.jpg", "data/images/train/0.jpg"):
        (workshop / half).parent.mkdir(parents=True)
    (workshop / "unpacked/images/train/0.jpg").write_bytes(b"half")
    (workshop / "data/images/train/0.jpg").write_bytes(pets("train")["images/train/0.jpg"])
    assert len(indexed(made(f"download: {server.base}/pets.zip\n"))) == 2
    assert not workshop.exists()


def test_a_second_process_waits_and_finds_the_data_set(server: FileServer, capfd: pytest.CaptureFixture[str]) -> None:
    server.files["/pets.zip"] = zipped(pets("train", "val"))
    yaml = made(f"download: {server.base}/pets.zip\n")
    server.hold.clear()
    processes = [multiprocessing.get_context("fork").Process(target=indexed, args=(yaml,)) for _ in range(2)]
    for process in processes:
        process.start()
    threading.Timer(2.0, server.hold.set).start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(server.asked()) == 1
    assert "another process completes" in capfd.readouterr().err


# Preparations


def test_every_preparation_that_a_yaml_may_name_exists() -> None:
    assert tuple(sorted(obtaining.PREPARATIONS)) == PREPARATIONS


def test_labels_are_made_before_the_data_set_gets_its_name(server: FileServer, work: Path) -> None:
    rows = {split: f"{split}_0.jpg,8,6,24,18,object,32,24\n" for split in ("train", "val", "test")}
    files = {f"SKU/images/{split}_0.jpg": picture(number) for number, split in enumerate(rows)}
    files |= {f"SKU/annotations/annotations_{split}.csv": row.encode() for split, row in rows.items()}
    server.files["/SKU.tar.gz"] = tarred(files)
    splits = "path: shelves\ntrain: train.txt\nval: val.txt\nprepare: sku110k\n"
    index = indexed(made(f"download: {server.base}/SKU.tar.gz\n", splits))
    assert index.labels.tolist() == [[0, 0.5, 0.5, 0.5, 0.5]]
    assert (work / "datasets/shelves/labels/val_0.txt").is_file()


def test_damaged_annotations_leave_no_data_set(server: FileServer, work: Path) -> None:
    server.files["/a.zip"] = zipped({"annotations/annotations_train.csv": b"x.jpg,1,2\n"})
    splits = "path: shelves\ntrain: train.txt\nval: val.txt\nprepare: sku110k\n"
    refused(made(f"download: {server.base}/a.zip\n", splits), DataError, "annotations_train.csv:1", "x.jpg,1,2")
    assert not (work / "datasets/shelves").exists()


def test_labels_are_made_for_images_that_were_unpacked_by_hand(work: Path) -> None:
    root = work / "datasets/shelves"
    for split in ("train", "val", "test"):
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / "annotations").mkdir(exist_ok=True)
        (root / f"images/{split}_0.jpg").write_bytes(picture(1))
        (root / f"annotations/annotations_{split}.csv").write_text(f"{split}_0.jpg,8,6,24,18,object,32,24\n")
    splits = "path: shelves\ntrain: train.txt\nval: val.txt\nprepare: sku110k\n"
    yaml = made("download: https://example.org/never-asked.zip\n", splits)
    assert indexed(yaml).labels.tolist() == [[0, 0.5, 0.5, 0.5, 0.5]]
    # What is there stays as it is.
    (root / "labels/train_0.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    time.sleep(0.01)
    assert indexed(yaml).labels[0, 3] == np.float32(0.1)
    shutil.rmtree(root / "labels")
    assert indexed(yaml).labels[0, 3] == np.float32(0.5)
