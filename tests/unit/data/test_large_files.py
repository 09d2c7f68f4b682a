"""Files beyond reason are not read: a file of holes, which takes no room on the disk, would fill the memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from accel_yolo.config.data_format import MAX_COCO_BYTES, coco_names, looks_like_coco
from accel_yolo.config.yaml_io import LARGEST_BYTES, load_yaml
from accel_yolo.data.formats.coco_file import read_coco
from accel_yolo.data.images import MAX_IMAGE_BYTES, read_image
from accel_yolo.data.listing import MAX_LIST_BYTES, list_images, read_regular
from accel_yolo.data.problems import BadFile
from accel_yolo.data.scan import MAX_LABEL_BYTES
from accel_yolo.errors import ConfigError, DataError
from accel_yolo.files import read_within


def holes(path: Path, size: int) -> Path:
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


def said(limit: int) -> str:
    return f"{limit + 1} bytes, at most {limit} are read"


def test_an_image(tmp_path):
    path = holes(tmp_path / "a.jpg", MAX_IMAGE_BYTES + 1)
    with pytest.raises(DataError, match=f"the image cannot be read in .*a.jpg: {said(MAX_IMAGE_BYTES)}"):
        read_image(str(path))


def test_a_label_file(tmp_path):
    path = holes(tmp_path / "a.txt", MAX_LABEL_BYTES + 1)
    with pytest.raises(BadFile, match=f"a.txt: the label file cannot be read: {said(MAX_LABEL_BYTES)}"):
        read_regular(str(path), "the label file cannot be read", MAX_LABEL_BYTES)


@pytest.mark.parametrize("place", ["train.txt", "ImageSets/train.txt"])
def test_a_list_of_images(tmp_path, place):
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    holes(path, MAX_LIST_BYTES + 1)
    with pytest.raises(DataError, match=f"the list of images cannot be read in .*train.txt: {said(MAX_LIST_BYTES)}"):
        list_images([path], voc=True)


def test_a_coco_json(tmp_path):
    path = holes(tmp_path / "coco.json", MAX_COCO_BYTES + 1)
    assert looks_like_coco(path)
    for reader in (lambda: read_coco(path, ["a"]), lambda: coco_names(path)):
        with pytest.raises(DataError, match=f"the annotations cannot be read in .*: {said(MAX_COCO_BYTES)}"):
            reader()


def test_a_yaml_file_without_size_and_end():
    with pytest.raises(ConfigError, match=f"file too large in /dev/zero: more than {LARGEST_BYTES} bytes"):
        load_yaml(Path("/dev/zero"))


def test_what_is_just_within_its_limit_is_read(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    assert read_within(path, 100) == b"x" * 100
    with pytest.raises(OSError, match="100 bytes, at most 99 are read"):
        read_within(path, 99)
    with pytest.raises(OSError, match="10 bytes, at most 9 are read"):
        read_within("/dev/zero", 9)
