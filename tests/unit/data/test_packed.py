"""Packed images: the pixels of `read_resized`, once for a machine, whole or not there."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from PIL import Image

from accel_yolo.config.dataset import DataSpec, load_data_spec
from accel_yolo.data import packed_file
from accel_yolo.data.images import read_resized
from accel_yolo.data.index import SplitIndex, build_index
from accel_yolo.data.packed import ChosenImages, DecodedImages, PackedImages, Packing, warn_of_memory
from accel_yolo.errors import DataError, EnvironmentFault

IMGSZ = 64
SIZES_HW = [(64, 48), (40, 64), (100, 37), (20, 31), (64, 64), (333, 210), (11, 200), (63, 64)]


@pytest.fixture
def index(tmp_path: Path) -> SplitIndex:
    """Eight noisy images of different sizes, one of them turned by its EXIF block."""
    rng = np.random.default_rng(1)
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "labels").mkdir()
    for number, size_hw in enumerate(SIZES_HW):
        picture = Image.fromarray(rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6 if number == 2 else 1
        picture.save(tmp_path / "data" / "images" / f"{number}.jpg", exif=exif)
        (tmp_path / "data" / "labels" / f"{number}.txt").write_text("0 .5 .5 .1 .1\n")
    return index_of(tmp_path / "data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache folder"


def index_of(root: Path) -> SplitIndex:
    places = (root / "images",)
    spec = DataSpec(root / "d.yaml", root, places, places, (), {0: "a"})
    return build_index(spec, "train", single_cls=False, bad_data="fail", workers=2)


def packed(index: SplitIndex, folder: Path, imgsz: int = IMGSZ, *, augmenting: bool = True) -> PackedImages:
    return Packing.of(index, imgsz, augmenting=augmenting, folder=folder).open(workers=2)


def decoded(index: SplitIndex, imgsz: int = IMGSZ, *, augmenting: bool = True) -> list[np.ndarray]:
    return [read_resized(path, imgsz, augmenting=augmenting) for path in index.paths]


def assert_same(images: Callable[[int], np.ndarray], expected: list[np.ndarray]) -> None:
    for number, image in enumerate(expected):
        np.testing.assert_array_equal(images(number), image)


def flip_a_bit(file: Path, offset: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(offset)
        value = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([value ^ 1]))


# The pixels


@pytest.mark.parametrize("augmenting", [True, False])
@pytest.mark.parametrize("imgsz", [32, 64, 100, 333, 400])
def test_every_bit_is_that_of_reading_the_file(index: SplitIndex, folder: Path, imgsz: int, augmenting: bool) -> None:
    images = packed(index, folder, imgsz, augmenting=augmenting)
    expected = decoded(index, imgsz, augmenting=augmenting)
    assert len(images) == len(expected) == len(SIZES_HW)
    assert_same(images, expected)
    assert_same(packed(index, folder, imgsz, augmenting=augmenting), expected)  # from the file that is there
    assert_same(DecodedImages(index, imgsz, augmenting), expected)


@pytest.mark.parametrize("augmenting", [True, False])
def test_every_bit_of_real_images_is_that_of_reading_the_file(coco128: Path, folder: Path, augmenting: bool) -> None:
    index = build_index(load_data_spec(coco128), "train", single_cls=False, bad_data="fail", workers=2)
    assert_same(packed(index, folder, 320, augmenting=augmenting), decoded(index, 320, augmenting=augmenting))


def test_an_image_belongs_to_who_asked_for_it(index: SplitIndex, folder: Path) -> None:
    images = packed(index, folder)
    first = images(0)
    assert first.dtype == np.uint8 and first.flags.c_contiguous and first.flags.writeable
    first[:] = 0
    assert images(0).any()


def test_images_can_be_chosen_and_repeated(index: SplitIndex, folder: Path) -> None:
    expected = decoded(index)
    chosen = ChosenImages(packed(index, folder), np.array([3, 1, 3]))
    assert_same(pickle.loads(pickle.dumps(chosen)), [expected[3], expected[1], expected[3]])


def test_a_system_without_positioned_reads_maps_the_file(
    index: SplitIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "preadv")
    assert_same(packed(index, folder), decoded(index))
    assert_same(packed(index, folder), decoded(index))


def test_a_split_may_be_empty(index: SplitIndex, folder: Path) -> None:
    names = ("sizes_hw", "labels", "polygons", "content_keys")
    none = {name: getattr(index, name)[:0] for name in names}
    starts = {"label_starts": np.zeros(1, np.int64), "polygon_starts": np.zeros(1, np.int64)}
    assert len(packed(dataclasses.replace(index, paths=(), **none, **starts), folder)) == 0


# Who reads


def test_threads_may_share_one_reader(index: SplitIndex, folder: Path) -> None:
    images, expected = packed(index, folder), decoded(index)
    numbers = np.random.default_rng(2).integers(0, len(index), 400).tolist()
    with ThreadPoolExecutor(8) as pool:
        for number, image in zip(numbers, pool.map(images, numbers), strict=True):
            np.testing.assert_array_equal(image, expected[number])


def _checksums(images: PackedImages) -> list[int]:
    return [zlib.crc32(images(number).data) for number in range(len(images))]


@pytest.mark.parametrize("is_opened_before", [True, False])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_the_same(index: SplitIndex, folder: Path, method: str, is_opened_before: bool) -> None:
    images = packed(index, folder)
    if is_opened_before:
        images(0)
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map(_checksums, [images] * 4)
    assert found == [[zlib.crc32(image.data) for image in decoded(index)]] * 4


def test_what_goes_to_another_process_holds_no_pixels(index: SplitIndex, folder: Path) -> None:
    images = packed(index, folder, 640)
    assert len(pickle.dumps(images)) < 4096 < 1 << 20 < images.layout.file_bytes


def _private_growth(images: PackedImages) -> int:
    process = psutil.Process()
    images(0)
    before = process.memory_full_info().uss
    for number in range(len(images)):
        images(number)
    return process.memory_full_info().uss - before


def test_reading_all_images_costs_an_extra_process_no_memory(index: SplitIndex, folder: Path) -> None:
    images = packed(index, folder, 1600)
    assert images.layout.file_bytes > 30 << 20
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        growths = pool.map(_private_growth, [images] * 2, chunksize=1)
    # An image is 7.7 MB at most, and one of them may still be in the hands of the allocator.
    assert max(growths) < 9 << 20, growths
    assert sum(growths) < images.layout.file_bytes / 2


def test_a_file_that_changes_under_a_reader_stops_the_run_in_one_line(index: SplitIndex, folder: Path) -> None:
    images = packed(index, folder)
    images(0)
    elsewhere = pickle.loads(pickle.dumps(images))
    os.truncate(images.file, images.layout.file_bytes // 2)
    with pytest.raises(EnvironmentFault, match=r"^the image cache changed during the run in .*cut short; start again$"):
        images(len(index) - 1)
    with pytest.raises(EnvironmentFault, match="another file now; start again"):
        elsewhere(0)
    images.file.unlink()
    with pytest.raises(EnvironmentFault, match="cannot read the image cache in .*No such file"):
        elsewhere(0)


# When a file serves


def test_a_file_that_is_there_is_not_written_again(index: SplitIndex, folder: Path) -> None:
    first = packed(index, folder).file.stat()
    again = packed(index, folder).file.stat()
    assert (first.st_ino, first.st_mtime_ns) == (again.st_ino, again.st_mtime_ns)


def test_other_labels_need_no_other_file_but_other_images_do(index: SplitIndex, folder: Path) -> None:
    before = packed(index, folder)
    root = Path(index.paths[0]).parents[1]
    (root / "labels" / "0.txt").write_text("0 .3 .3 .1 .1\n")
    relabelled = index_of(root)
    assert relabelled.digest != index.digest
    assert packed(relabelled, folder).file == before.file
    cv2.imwrite(relabelled.paths[0], np.zeros((*SIZES_HW[0], 3), np.uint8))
    changed = index_of(root)
    after = packed(changed, folder)
    assert after.file != before.file
    assert not after(0).any() and before(0).any()


def test_each_size_kind_and_version_has_its_own_file_and_older_ones_are_named(
    index: SplitIndex, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert packed(index, folder).file.exists()
    assert "image caches" not in capfd.readouterr().err
    packed(index, folder, 32)
    assert "note: 1 image caches of other data, sizes or versions (1 MiB) are in" in capfd.readouterr().err
    packed(index, folder, augmenting=False)
    monkeypatch.setattr(cv2, "__version__", "0.0")
    packed(index, folder)
    assert len(list(folder.glob("*.images"))) == 4


def test_where_nothing_is_made_smaller_training_and_validation_share_a_file(index: SplitIndex, folder: Path) -> None:
    assert packed(index, folder, 400).file == packed(index, folder, 400, augmenting=False).file


# Damage


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def _lengthen(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"x")


def _foreign(file: Path) -> None:
    file.write_bytes(pickle.dumps({"images": [1, 2, 3]}) * 1000)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a bit of a pixel": (lambda file: flip_a_bit(file, 3 * 4096), "the pixels of image 0 are damaged"),
    "a bit of the last pixel": (
        lambda file: flip_a_bit(file, file.stat().st_size - 64),
        f"the pixels of image {len(SIZES_HW) - 1} are damaged",
    ),
    "a bit of the table": (lambda file: flip_a_bit(file, 4096 + 5), "its head is damaged"),
    "a bit of the description": (lambda file: flip_a_bit(file, 60), "its head is damaged"),
    "a bit of the digest": (lambda file: flip_a_bit(file, 12), "its head is damaged"),
    "the end is missing": (_cut, "it is cut short"),
    "empty": (lambda file: os.truncate(file, 0), "it is cut short"),
    "too long": (_lengthen, "it is too long"),
    "a foreign file": (_foreign, "it is no file of packed images"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_or_foreign_file_is_named_in_one_line_and_made_anew(
    index: SplitIndex, folder: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil, reason = DAMAGE[kind]
    file = packed(index, folder).file
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    spoil(file)
    os.utime(file, ns=times)  # a time that looks untouched hides nothing
    capfd.readouterr()
    images = packed(index, folder)
    warnings = [line for line in capfd.readouterr().err.splitlines() if "warning" in line]
    assert warnings == [f"warning: the image cache is made anew: {reason}: {file}"]
    assert_same(images, decoded(index))


def test_the_file_of_other_images_is_not_taken_for_this_one(
    index: SplitIndex, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, other = packed(index, folder).file, packed(index, folder, augmenting=False).file
    assert file.stat().st_size == other.stat().st_size
    other.replace(file)
    assert_same(packed(index, folder), decoded(index))
    assert "it holds other images" in capfd.readouterr().err


def test_all_pixels_are_checked_once_after_each_start_of_the_machine(
    index: SplitIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[Path] = []
    check = packed_file.check_pixels
    monkeypatch.setattr(
        "accel_yolo.data.packed.check_pixels", lambda *arguments: passes.append(folder) or check(*arguments)
    )
    file = packed(index, folder).file
    packed(index, folder)
    assert not passes  # it was written a moment ago
    checked = file.with_suffix(".checked")
    checked.write_text(checked.read_text().rsplit(" ", 1)[0] + " another-start")
    packed(index, folder)
    packed(index, folder)
    assert len(passes) == 1


# Writing


def test_a_builder_that_is_killed_leaves_nothing_that_is_taken_for_whole(index: SplitIndex, folder: Path) -> None:
    program = (
        "import pickle, sys, time\n"
        "from pathlib import Path\n"
        "from accel_yolo.data import packed\n"
        "index, read = pickle.load(sys.stdin.buffer), packed.read_resized\n"
        "def slow(path, imgsz, **options):\n"
        "    if path == index.paths[5]:\n"
        "        print('half way', flush=True)\n"
        "        time.sleep(600)\n"
        "    return read(path, imgsz, **options)\n"
        "packed.read_resized = slow\n"
        f"packed.Packing.of(index, {IMGSZ}, augmenting=True, folder=Path({str(folder)!r})).open(workers=1)\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, stderr=pipe) as builder:
        assert builder.stdin is not None and builder.stdout is not None
        builder.stdin.write(pickle.dumps(index))
        builder.stdin.close()
        assert builder.stdout.readline() == b"half way\n"
        builder.send_signal(signal.SIGKILL)
    assert not list(folder.glob("*.images"))
    assert len(list(folder.glob(".tmp-*"))) == 1
    assert_same(packed(index, folder), decoded(index))
    assert not list(folder.glob(".tmp-*"))


def _build(index: SplitIndex, folder: Path, start: object, results: multiprocessing.Queue) -> None:
    start.wait()  # pyright: ignore[reportAttributeAccessIssue]
    images = packed(index, folder)
    results.put((images.file.stat().st_ino, _checksums(images)))


def test_processes_that_come_together_write_one_file(index: SplitIndex, folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_build, args=(index, folder, start, results)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert len({inode for inode, _ in found}) == 1
    assert all(checksums == [zlib.crc32(image.data) for image in decoded(index)] for _, checksums in found)
    assert not list(folder.glob(".tmp-*"))


def test_an_image_that_cannot_be_read_any_more_is_named_and_nothing_is_left(index: SplitIndex, folder: Path) -> None:
    Path(index.paths[3]).write_bytes(b"no image")
    with pytest.raises(DataError, match="3.jpg"):
        packed(index, folder)
    assert not list(folder.glob("*.images")) and not list(folder.glob(".tmp-*"))


@pytest.mark.parametrize("is_packed", [True, False])
def test_an_image_that_changed_since_it_was_indexed_is_named(index: SplitIndex, folder: Path, is_packed: bool) -> None:
    height, width = index.sizes_hw[3].tolist()
    cv2.imwrite(index.paths[3], np.zeros((height // 2, width, 3), np.uint8))
    with pytest.raises(DataError, match=r"changed its size since the data set was verified in .*3\.jpg: from "):
        if is_packed:
            packed(index, folder)
        else:
            DecodedImages(index, IMGSZ, augmenting=True)(3, slice(0, 2))  # as many rows as there are in both


def test_some_rows_of_an_image_are_those_of_the_whole(index: SplitIndex, folder: Path) -> None:
    images, load = decoded(index), packed(index, folder)
    for number, image in enumerate(images):
        for rows in (slice(3, 9), slice(0, len(image)), slice(len(image) - 1, len(image))):
            np.testing.assert_array_equal(load(number, rows), image[rows])


def _many(index: SplitIndex, count: int) -> SplitIndex:
    """Return an index that claims `count` huge images."""
    sizes, keys = np.full((count, 2), 1000, np.int32), np.zeros(count, np.uint64)
    return dataclasses.replace(index, paths=index.paths[:1] * count, sizes_hw=sizes, content_keys=keys)


def test_without_room_on_the_disk_one_line_says_so_before_anything_is_written(index: SplitIndex, folder: Path) -> None:
    with pytest.raises(EnvironmentFault) as error:
        packed(_many(index, 100_000), folder, 16384)
    assert str(error.value).startswith(f"too little disk space for the image cache in {folder}: 75000.0 GiB needed, ")
    assert str(error.value).endswith(" free; name another folder with --cache-dir, or leave --cache out")
    assert not list(folder.glob("*.images")) and not list(folder.glob(".tmp-*"))


def test_a_disk_that_refuses_the_size_stops_before_an_image_is_read(index: SplitIndex, folder: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            with pytest.raises(EnvironmentFault, match="cannot write in .*File too large; check space and rights"):
                packed(index, folder)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert not list(folder.glob("*.images")) and not list(folder.glob(".tmp-*"))


def test_more_than_fits_in_memory_is_a_warning_only(
    index: SplitIndex, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    warn_of_memory([Packing.of(index, IMGSZ, augmenting=True, folder=folder)])
    assert capfd.readouterr().err == ""
    warn_of_memory([Packing.of(_many(index, 100_000), 16384, augmenting=True, folder=folder)])
    line = capfd.readouterr().err
    assert line.startswith("warning: the image cache has 75000.0 GiB, but ") and line.count("\n") == 1


def test_a_folder_that_cannot_be_is_one_line(index: SplitIndex, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match=r"the image cache in .*: Not a directory; name another folder with"):
        packed(index, tmp_path / "file" / "below")
