"""The verified index: what is found, what is dropped and named, what is kept between runs."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from accel_yolo import files
from accel_yolo.config.dataset import DataSpec, load_data_spec
from accel_yolo.data import index_cache, scan
from accel_yolo.data.index import SplitIndex, build_index, summary
from accel_yolo.data.listing import list_images
from accel_yolo.data.split_index import ARRAYS
from accel_yolo.errors import DataError

BOX = "0 0.5 0.5 0.2 0.2\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCEL_YOLO_CACHE", str(tmp_path / "cache"))


def add_image(root: Path, name: str, label: str | bytes | None = BOX, hw: tuple[int, int] = (24, 32)) -> Path:
    """Write images/<name> and labels/<stem>.txt below `root`; return the image."""
    image = root / "images" / name
    image.parent.mkdir(parents=True, exist_ok=True)
    value = sum(name.encode()) % 256
    image.write_bytes(cv2.imencode(image.suffix.lower(), np.full((*hw, 3), value, np.uint8))[1].tobytes())
    if label is not None:
        file = (root / "labels" / name).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(label if isinstance(label, bytes) else label.encode())
    return image


def spec_of(root: Path, *places: Path, nc: int = 3) -> DataSpec:
    names = {number: f"class {number}" for number in range(nc)}
    return DataSpec(root / "d.yaml", root, places or (root / "images",), places or (root / "images",), (), names)


def built(root: Path, *places: Path, bad_data: str = "limit", nc: int = 3, single_cls: bool = False) -> SplitIndex:
    spec = spec_of(root, *places, nc=nc)
    return build_index(spec, "train", single_cls=single_cls, bad_data=bad_data, workers=2)


def names_of(index: SplitIndex) -> list[str]:
    return [Path(path).name for path in index.paths]


# What a split holds


def test_images_labels_and_polygons_lie_in_flat_arrays_in_sorted_order(tmp_path: Path) -> None:
    add_image(tmp_path, "b.png", "1 .5 .5 .1 .1\n2 .1 .1 .3 .1 .2 .4\n", hw=(20, 40))
    add_image(tmp_path, "a.jpg", BOX, hw=(30, 10))
    add_image(tmp_path, "c.jpg", None)
    add_image(tmp_path, "d.jpg", "")
    index = built(tmp_path)
    assert names_of(index) == ["a.jpg", "b.png", "c.jpg", "d.jpg"]
    assert all(Path(path).is_absolute() for path in index.paths)
    assert index.sizes_hw.tolist() == [[30, 10], [20, 40], [24, 32], [24, 32]]
    assert index.label_starts.tolist() == [0, 1, 3, 3, 3]
    assert index.labels[:, 0].tolist() == [0, 1, 2]
    assert index.polygon_starts.tolist() == [0, 0, 0, 3]
    assert [len(polygon) for polygon in index.polygons_of(1)] == [0, 3]
    assert len(index.labels_of(2)) == 0
    dtypes = [index.sizes_hw, index.labels, index.label_starts, index.polygons, index.polygon_starts]
    assert [array.dtype.name for array in dtypes] == ["int32", "float32", "int64", "float32", "int64"]
    counts = index.counts
    assert (counts.images, counts.labelled, counts.background, counts.empty, counts.dropped) == (4, 2, 1, 1, 0)
    expected = "train: 4 images (2 labelled, 1 background, 1 with an empty label file), 3 objects"
    assert summary(index, "train") == expected


def test_the_real_images_are_all_usable(coco128: Path) -> None:
    spec = load_data_spec(coco128)
    index = build_index(spec, "train", single_cls=False, bad_data="fail", workers=2)
    assert (len(index), len(index.labels), index.counts.background) == (128, 929, 2)


def test_single_class_makes_every_class_zero(tmp_path: Path) -> None:
    add_image(tmp_path, "a.jpg", "2 .5 .5 .1 .1\n7 .5 .5 .2 .2\n")
    assert built(tmp_path, nc=1, single_cls=True).labels[:, 0].tolist() == [0, 0]


def test_arrays_cannot_be_changed_by_accident(tmp_path: Path) -> None:
    add_image(tmp_path, "a.jpg")
    with pytest.raises(ValueError, match="read-only"):
        built(tmp_path).labels[0, 0] = 1


def test_any_file_name_works(tmp_path: Path) -> None:
    add_image(tmp_path, "schön 图.jpg")
    add_image(tmp_path, "x.jpg", None).rename(tmp_path / "images" / os.fsdecode(b"caf\xe9.jpg"))
    assert len(built(tmp_path)) == 2
    assert len(built(tmp_path)) == 2  # from the kept index


# Finding images


def test_endings_count_in_any_case_and_folders_are_searched_to_the_bottom(tmp_path: Path) -> None:
    for name in ("a.JPG", "x/y/b.Png", "x/c.TIFF", "d.webp"):
        add_image(tmp_path, name)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    (tmp_path / "images" / "jpg").write_text("no ending")
    assert sorted(names_of(built(tmp_path))) == ["a.JPG", "b.Png", "c.TIFF", "d.webp"]


def test_several_places_make_one_sorted_split(tmp_path: Path) -> None:
    add_image(tmp_path / "two", "a.jpg")
    add_image(tmp_path / "one", "b.jpg")
    index = built(tmp_path, tmp_path / "two" / "images", tmp_path / "one" / "images")
    assert names_of(index) == ["b.jpg", "a.jpg"]
    assert list(index.paths) == sorted(index.paths)


def test_a_list_file_names_images_relative_to_itself_or_absolutely(tmp_path: Path) -> None:
    add_image(tmp_path, "a.jpg")
    add_image(tmp_path, "b.jpg")
    absolute = add_image(tmp_path, "c.jpg")
    listed = tmp_path / "train.txt"
    listed.write_bytes(f"\ufeff./images/a.jpg\r\n\r\nimages/b.jpg\n{absolute}".encode())
    index = built(tmp_path, listed)
    assert names_of(index) == ["a.jpg", "b.jpg", "c.jpg"]
    assert len(index.labels) == 3


def test_a_list_may_be_relative_to_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_image(tmp_path, "a.jpg")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.txt").write_text("images/a.jpg\n")
    monkeypatch.chdir(tmp_path)
    assert names_of(built(tmp_path, tmp_path / "lists" / "train.txt")) == ["a.jpg"]


def test_an_image_that_is_listed_but_missing_is_dropped_and_named(tmp_path: Path, capsys) -> None:
    add_image(tmp_path, "a.jpg")
    (tmp_path / "train.txt").write_text("./images/a.jpg\n./images/gone.jpg\n")
    index = built(tmp_path, tmp_path / "train.txt", bad_data="drop")
    assert index.counts.dropped == 1
    assert "gone.jpg: no such file" in capsys.readouterr().err


def test_links_are_followed_and_loops_pipes_sockets_and_dangling_links_do_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_image(tmp_path, "a.jpg")
    add_image(tmp_path / "elsewhere", "b.jpg")
    images = tmp_path / "images"
    (images / "loop").symlink_to(images)
    (images / "more").symlink_to(tmp_path / "elsewhere" / "images")
    (images / "self.jpg").symlink_to(images / "self.jpg")
    (images / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(images / "pipe.jpg")
    monkeypatch.chdir(images)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
        (images / "folder.jpg").mkdir()
        index = built(tmp_path, bad_data="drop")
    assert names_of(index) == ["a.jpg", "b.jpg"]
    assert index.counts.dropped == 4


NOBODY = 65534


def test_what_may_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for kind in ("a", "b"):
            add_image(root, f"{kind}.jpg")
        (root / "cache").mkdir()
        monkeypatch.setenv("ACCEL_YOLO_CACHE", str(root / "cache"))
        for place in (root, *root.rglob("*")):
            place.chmod(0o777)
        (root / "images" / "b.jpg").chmod(0)
        (root / "images" / "closed").mkdir(mode=0)
        is_root = os.geteuid() == 0  # who may read everything
        if is_root:
            os.seteuid(NOBODY)
        try:
            index = built(root, bad_data="drop")
        finally:
            if is_root:
                os.seteuid(0)
    said = capsys.readouterr().err
    assert names_of(index) == ["a.jpg"]
    assert "images/b.jpg: the image cannot be read: Permission denied" in said
    assert "images/closed: folder cannot be searched: Permission denied" in said


def test_a_place_that_does_not_exist_or_is_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder or list of images in .*nowhere"):
        list_images((tmp_path / "nowhere",))
    (tmp_path / "d.csv").write_text("")
    with pytest.raises(DataError, match=r"d\.csv"):
        list_images((tmp_path / "d.csv",))


# What is wrong

BAD_LABELS = {
    "letter": ("0 .5 .5 .1 .1\n0 .5 x .1 .1\n", ":2: every column must be a number: x"),
    "nan": ("0 nan .5 .1 .1\n", ":1: every column must be a finite number: nan"),
    "class": ("0 .5 .5 .1 .1\n\n3 .5 .5 .1 .1\n", ":3: the class must be below the number of classes, 3: 3"),
    "four": ("0 .5 .5 .1\n", ":1: a line has 5 columns"),
    "negative": ("0 .5 -.5 .1 .1\n", ":1: coordinates must lie between 0 and 1"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_an_image_with_a_bad_label_is_dropped_counted_and_named(tmp_path: Path, capsys, case: str) -> None:
    content, expected = BAD_LABELS[case]
    for number in range(30):
        add_image(tmp_path, f"{number:02d}.jpg")
    add_image(tmp_path, "bad.jpg", content)
    index = built(tmp_path)
    assert (len(index), index.counts.dropped) == (30, 1)
    assert f"{tmp_path}/labels/bad.txt{expected}" in capsys.readouterr().err
    assert "1 images dropped" in summary(index, "train")


def bad_image(root: Path, case: str) -> str:
    path = add_image(root, f"{case}.jpg", hw=(64, 64))
    content = path.read_bytes()
    path.write_bytes({"truncated": content[:-20], "zero": b"", "html": b"<html></html>" * 9}.get(case, content))
    if case == "tiny":
        add_image(root, "tiny.jpg", hw=(9, 64))
    return {
        "truncated": "cut short",
        "zero": "the image file is empty",
        "html": "not an image of a supported kind",
        "tiny": "at least 10 px: 64x9",
    }[case]


@pytest.mark.parametrize("case", ["truncated", "zero", "html", "tiny"])
def test_a_bad_image_is_dropped_counted_and_named(tmp_path: Path, capsys, case: str) -> None:
    add_image(tmp_path, "a.png")
    expected = bad_image(tmp_path, case)
    assert built(tmp_path, bad_data="drop").counts.dropped == 1
    error = capsys.readouterr().err
    assert f"{case}.jpg: " in error
    assert expected in error


def test_above_five_percent_bad_the_run_stops_with_count_place_and_remedy(tmp_path: Path) -> None:
    for number in range(18):
        add_image(tmp_path, f"{number:02d}.jpg")
    add_image(tmp_path, "bad.jpg", "0 .5 .5 .1\n")
    with pytest.raises(DataError, match=r"1 of 19 \(5\.3%\); .*bad\.txt:1: .*--bad-data drop"):
        built(tmp_path)
    assert len(built(tmp_path, bad_data="drop")) == 18
    add_image(tmp_path, "18.jpg")
    assert len(built(tmp_path)) == 19  # one of twenty is exactly 5 %


def test_fail_stops_at_the_first_bad_image_also_from_the_kept_index(tmp_path: Path) -> None:
    for number in range(40):
        add_image(tmp_path, f"{number:02d}.jpg")
    add_image(tmp_path, "10.jpg", "0 .5 .5 .1\n")
    add_image(tmp_path, "30.jpg", "0 .5 .5 .1 y\n")
    for _ in range(2):
        with pytest.raises(DataError, match=r"bad data .*10\.txt:1: 4 columns"):
            built(tmp_path, bad_data="fail")
        built(tmp_path, bad_data="drop")


def test_only_the_first_twenty_findings_are_listed(tmp_path: Path, capsys) -> None:
    add_image(tmp_path, "good.jpg")
    for number in range(25):
        add_image(tmp_path, f"{number:02d}.jpg", "0 .5 .5 .1\n")
    built(tmp_path, bad_data="drop")
    lines = [line for line in capsys.readouterr().err.splitlines() if "warning:" in line]
    assert len(lines) == 21
    assert lines[-1].endswith("... and 5 more")


def test_duplicate_rows_are_removed_with_a_warning(tmp_path: Path, capsys) -> None:
    add_image(tmp_path, "a.jpg", "2 .5 .5 .1 .1\n0 .5 .5 .1 .1\n2 .5 .5 .1 .1\n")
    index = built(tmp_path)
    assert index.labels[:, 0].tolist() == [0, 2]
    assert index.counts.duplicates_removed == 1
    assert "a.txt: duplicate rows were left out: 1" in capsys.readouterr().err


def test_two_images_with_one_label_file_are_warned_about(tmp_path: Path, capsys) -> None:
    add_image(tmp_path, "a.jpg")
    add_image(tmp_path, "a.png")
    assert len(built(tmp_path)) == 2
    assert "a.png: shares its label file with another image of the same name" in capsys.readouterr().err


def test_no_images_no_labels_and_no_split_are_errors_that_name_the_places(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"no images in .*images"):
        built(tmp_path)
    add_image(tmp_path, "a.jpg", None)
    with pytest.raises(DataError, match=r"no labels in .*images.*looked for in .*labels"):
        built(tmp_path)
    with pytest.raises(DataError, match=r"no such split in .*d\.yaml: test"):
        build_index(spec_of(tmp_path), "test", single_cls=False, bad_data="limit", workers=1)
    (tmp_path / "images" / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"no usable image in .*images: 1 images, all bad"):
        built(tmp_path, bad_data="drop")


# What is kept between runs


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that were decoded for verification."""
    seen: list[str] = []
    verify = scan.verify
    monkeypatch.setattr(scan, "verify", lambda content, path: (seen.append(Path(path).name), verify(content, path))[1])
    return seen


def assert_same(one: SplitIndex, other: SplitIndex) -> None:
    for name in ("paths", "digest", "counts"):
        assert getattr(one, name) == getattr(other, name)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_an_unchanged_data_set_is_not_decoded_again_and_nothing_is_written_beside_it(
    tmp_path: Path, scans: list[str], capsys
) -> None:
    add_image(tmp_path, "a.jpg", "2 .1 .1 .3 .1 .2 .4\n")
    add_image(tmp_path, "b.jpg", "0 .5 .5 .1\n")
    first = built(tmp_path, bad_data="drop")
    before = capsys.readouterr().err
    second = built(tmp_path, bad_data="drop")
    assert scans == ["a.jpg", "b.jpg"]
    assert_same(first, second)
    assert "b.txt:1" in before
    assert "b.txt:1" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "images", "labels"]


@pytest.mark.parametrize("change", ["label", "image", "new label", "new image", "classes"])
def test_any_change_of_images_labels_or_classes_verifies_again(tmp_path: Path, scans: list[str], change: str) -> None:
    add_image(tmp_path, "a.jpg")
    add_image(tmp_path, "b.jpg", None)
    first = built(tmp_path)
    scans.clear()
    if change == "label":
        (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.2 0.2\n")
        os.utime(tmp_path / "labels" / "a.txt", ns=(1, 1))
    elif change == "image":
        add_image(tmp_path, "a.jpg", hw=(50, 60))
    elif change == "new label":
        (tmp_path / "labels" / "b.txt").write_text(BOX)
    elif change == "new image":
        add_image(tmp_path, "c.jpg", None)
    second = built(tmp_path, nc=4 if change == "classes" else 3)
    assert "a.jpg" in scans
    assert (second.digest == first.digest) == (change == "classes")


def kept_file(tmp_path: Path) -> Path:
    (file,) = (tmp_path / "cache" / "index").glob("*.npz")
    return file


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "empty", "pickle"])
def test_a_damaged_kept_index_is_rebuilt(tmp_path: Path, scans: list[str], damage: str) -> None:
    add_image(tmp_path, "a.jpg")
    first = built(tmp_path)
    file = kept_file(tmp_path)
    content = file.read_bytes()
    if damage == "pickle":
        np.savez(file, labels=np.array([{"a": 1}], dtype=object))
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
        file.write_bytes({"cut": content[:-40], "flip": flipped, "text": b"hello", "empty": b""}[damage])
    assert_same(built(tmp_path), first)
    assert_same(built(tmp_path), first)
    assert scans in (["a.jpg"] * 2, ["a.jpg"])  # a flip in the padding of the container harms nothing


def test_a_kept_index_whose_numbers_were_altered_is_not_believed(tmp_path: Path, scans: list[str]) -> None:
    add_image(tmp_path, "a.jpg")
    built(tmp_path)
    file = kept_file(tmp_path)
    with np.load(file) as stored:
        parts = dict(stored)
    parts["labels"] = parts["labels"] * np.float32(0.5)
    np.savez(file, **parts)
    built(tmp_path)
    assert len(scans) == 2


def test_where_nothing_can_be_kept_the_index_is_built_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    add_image(tmp_path, "a.jpg")
    (tmp_path / "a_file").write_text("")
    monkeypatch.setenv("ACCEL_YOLO_CACHE", str(tmp_path / "a_file"))
    assert len(built(tmp_path)) == 1
    assert "the index is not kept" in capsys.readouterr().err


def test_equal_data_have_one_digest_wherever_they_lie(tmp_path: Path) -> None:
    for number in range(3):
        add_image(tmp_path / "here", f"{number}.jpg")
    shutil.copytree(tmp_path / "here", tmp_path / "there" / "deeper")
    here, there = built(tmp_path / "here"), built(tmp_path / "there" / "deeper")
    assert here.digest == there.digest
    assert here.paths != there.paths


def test_the_digest_sees_names_pixels_and_labels(tmp_path: Path) -> None:
    add_image(tmp_path, "a.jpg")
    add_image(tmp_path, "b.jpg")
    digests = {built(tmp_path).digest}
    (tmp_path / "images" / "b.jpg").rename(tmp_path / "images" / "c.jpg")
    digests.add(built(tmp_path).digest)
    shutil.copy(tmp_path / "images" / "a.jpg", tmp_path / "images" / "c.jpg")
    digests.add(built(tmp_path).digest)
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.3\n")
    digests.add(built(tmp_path).digest)
    assert len(digests) == 4


def test_many_images_are_verified_by_processes_with_the_same_result_and_the_same_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    for number in range(300):
        label = None if number % 7 == 0 else "2 .1 .1 .3 .1 .2 .4\n" + BOX * (number % 3)
        add_image(tmp_path, f"{number:03d}.jpg", label, hw=(20 + number, 30))
    add_image(tmp_path, "x.png", "0 .5 .5 .1\n").rename(tmp_path / "images" / os.fsdecode(b"caf\xe9.png"))
    bad_image(tmp_path, "truncated")
    add_image(tmp_path, "150.jpg", "0 .5 .5 x .1\n")
    by_threads = built(tmp_path)
    said = capsys.readouterr().err
    kept_file(tmp_path).unlink()
    monkeypatch.setattr(scan, "FEW_IMAGES", 10)
    assert_same(built(tmp_path), by_threads)
    said_again = capsys.readouterr().err
    warnings = [[line for line in text.splitlines() if "warning:" in line] for text in (said, said_again)]
    assert warnings[0] == warnings[1]
    assert by_threads.counts.dropped == 2


def test_the_states_of_many_files_are_asked_by_processes_with_the_same_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}.jpg" for number in range(10)]
    paths = [str(add_image(tmp_path, name, None if name == "3.jpg" else BOX)) for name in names]
    paths += [str(tmp_path / "gone.jpg"), f"{tmp_path}/no\0file.jpg"]
    key = index_cache.key_of(paths, "yolo", "x")
    monkeypatch.setattr(index_cache, "FEW_IMAGES", 1)
    monkeypatch.setattr(index_cache, "_CHUNK", 3)
    keys = {index_cache.key_of(paths, "yolo", "x")}
    monkeypatch.setattr(index_cache, "usable_cores", lambda: 1)
    assert keys == {index_cache.key_of(paths, "yolo", "x")}
    assert key not in keys  # the key holds the chunks; their size is a constant


def test_a_label_file_that_is_edited_in_place_is_noticed_though_size_and_folder_are_as_before(
    tmp_path: Path, scans: list[str]
) -> None:
    add_image(tmp_path, "a.jpg")
    built(tmp_path)
    label = tmp_path / "labels" / "a.txt"
    with label.open("r+b") as stream:
        stream.write(b"1")
    assert label.stat().st_size == len(BOX)
    assert built(tmp_path).labels[0, 0] == 1
    assert len(scans) == 2


def test_a_label_file_that_becomes_a_link_or_another_kind_is_noticed(tmp_path: Path) -> None:
    image = str(add_image(tmp_path, "a.jpg"))
    label = tmp_path / "labels" / "a.txt"
    keys = [index_cache.key_of([image], "yolo", "x")]
    moved = label.rename(tmp_path / "b.txt")
    keys.append(index_cache.key_of([image], "yolo", "x"))
    label.symlink_to(moved)
    assert index_cache.key_of([image], "yolo", "x") == keys[0]
    label.unlink()
    label.mkdir()
    assert index_cache.key_of([image], "yolo", "x") == keys[1]


def test_the_key_of_a_kept_index_depends_on_files_and_rules(tmp_path: Path) -> None:
    image = str(add_image(tmp_path, "a.jpg"))
    assert index_cache.key_of([image], "yolo", "nc=3") == index_cache.key_of([image], "yolo", "nc=3")
    assert index_cache.key_of([image], "yolo", "nc=3") != index_cache.key_of([image], "yolo", "nc=4")
    assert index_cache.cache_file([tmp_path], "nc=3").parent == files.cache_dir() / "index"
