"""Image files that vanish, change or cannot be read after the data set was verified, while a training uses them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data import ring as ring_module
from accel_yolo.data.crew import Task
from accel_yolo.data.index import build_index
from accel_yolo.data.packed import DecodedImages
from accel_yolo.data.ring import Ring
from accel_yolo.data.workers import Workers
from accel_yolo.errors import DataError, EnvironmentFault

CHANGED = "; replace the file: it is not what it was when the data set was verified"
GONE = "; it was there when the data set was verified: put it back, and a training goes on with --resume"


@pytest.fixture
def images(tmp_path: Path) -> DecodedImages:
    """Two verified JPEGs of 64 px."""
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        pixels = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.jpg"), pixels)
        (tmp_path / "labels" / f"{number}.txt").write_text("0 .5 .5 .5 .5\n")
    data = tmp_path / "data.yaml"
    data.write_text(f"path: {tmp_path}\ntrain: images\nval: images\nnames: [a]\n")
    index = build_index(load_data_spec(str(data)), "train", single_cls=False, bad_data="limit", workers=1)
    return DecodedImages(index, 64, augmenting=True)


def refused(images: DecodedImages) -> str:
    with pytest.raises(DataError) as raised:
        images(0)
    return str(raised.value)


def test_an_image_that_is_gone_for_a_moment_is_waited_for(images: DecodedImages) -> None:
    path = Path(images.index.paths[0])
    whole, content = images(0), path.read_bytes()
    path.unlink()
    threading.Timer(0.2, path.write_bytes, (content,)).start()
    assert np.array_equal(images(0), whole)


def test_an_image_that_stays_away_is_named_after_four_tries(images: DecodedImages) -> None:
    path = Path(images.index.paths[0])
    path.unlink()
    started = time.monotonic()
    assert refused(images) == f"the image cannot be read in {path}: No such file or directory, tried 4 times{GONE}"
    assert 1.4 <= time.monotonic() - started < 10


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file at hand whose reading fails")
def test_an_error_of_the_disk_is_tried_again_and_named(images: DecodedImages) -> None:
    path = Path(images.index.paths[0])
    path.unlink()
    path.symlink_to("/proc/self/mem")  # reading its start fails with EIO
    line = refused(images)
    assert line.startswith(
        f"the image cannot be read in {path}: Input/output error, tried 4 times; look after the disk"
    )


def test_half_an_image_is_refused_and_known_as_changed(images: DecodedImages) -> None:
    path = Path(images.index.paths[0])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    line = f"the JPEG is cut short (no end marker) in {path}: {len(content) // 2} bytes{CHANGED}"
    assert refused(images) == line


def test_an_image_of_another_size_is_refused_and_known_as_changed(images: DecodedImages) -> None:
    path = Path(images.index.paths[0])
    cv2.imwrite(str(path), np.zeros((64, 64, 3), np.uint8))
    expected = f"in {path}: from 64x48, now 64x64 when scaled to 64{CHANGED}"
    assert refused(images) == f"the image changed its size since the data set was verified {expected}"


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_with_other_bytes_is_used_and_told_once(
    images: DecodedImages, capfd: pytest.CaptureFixture[str], workers: int
) -> None:
    path = Path(images.index.paths[0])
    cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    ring = Ring(Showing(images), 4 * 48 * 64 * 3, Workers(workers))
    for _ in range(2):
        for _, pixels, _ in ring.rendered([Task((4, 48, 64, 3), (0, 1, 1, 0))] * 2):
            assert not pixels[0].any() and not pixels[3].any() and pixels[1].any()
    warned = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning")]
    assert warned == [f"warning: {path} changed after the data set was verified: its labels may not fit"]


class Showing:
    """Shows images as they are."""

    def __init__(self, images: DecodedImages) -> None:
        self.images = images

    def render(self, image: int, into: np.ndarray) -> None:
        into[...] = self.images(image)


def test_a_pipe_in_the_place_of_an_image_is_not_waited_for(images: DecodedImages) -> None:
    path = Path(images.index.paths[0])
    path.unlink()
    os.mkfifo(path)
    started = time.monotonic()
    assert refused(images) == f"the image cannot be read in {path}: not a regular file{CHANGED}"
    assert time.monotonic() - started < 2


def test_batches_that_do_not_fit_into_memory_are_refused_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "free_memory_bytes", lambda: 5 << 20)
    ring = Ring(None, 1 << 20, Workers())  # pyright: ignore[reportArgumentType]
    expected = (
        "the batches do not fit into memory in the data loader: 6 of them take 6 MiB, 5 MiB is free; use a smaller"
    )
    with pytest.raises(EnvironmentFault, match=expected):
        _ = ring._slots
