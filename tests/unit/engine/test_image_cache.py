"""One cache for all processes of a machine, and the same pixels without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accel_yolo.config.schema import TrainConfig
from accel_yolo.data.packed import DecodedImages, PackedImages
from accel_yolo.engine.build import open_data
from accel_yolo.engine.image_cache import cache_folder, opened_caches
from accel_yolo.engine.world import World
from accel_yolo.errors import UserError
from accel_yolo.files import cache_dir


def _opened(config: TrainConfig) -> dict[str, Any]:
    """Return what a process sees: kinds, inodes and digests of all images of both splits; or the error it raises."""
    world = World.start("cpu")
    data = open_data(config, world)
    try:
        loads = opened_caches(config, {"train": data.train, "val": data.val}, world)
    except UserError as error:
        return {"error": str(error), "is silent": error.already_reported}
    images = {
        split: [load(number).tobytes() for number in range(len(index))]
        for (split, load), index in zip(loads.items(), (data.train, data.val), strict=True)
    }
    files = {split: load.file.stat().st_ino for split, load in loads.items() if isinstance(load, PackedImages)}
    return {"kinds": {split: type(load) for split, load in loads.items()}, "files": files, "images": images}


@pytest.fixture
def config(sparse_data: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(data=str(sparse_data), imgsz=64, device="cpu", workers=2, cache_dir=str(tmp_path / "packed"))


@pytest.mark.parametrize(
    "kind", ["ram", pytest.param("disk", marks=pytest.mark.slow), pytest.param("device", marks=pytest.mark.slow)]
)
def test_two_processes_share_one_file_of_the_pixels_that_decoding_gives(
    config: TrainConfig, run_processes: Callable[..., list[Any]], kind: str
) -> None:
    first, second = run_processes(2, _opened, replace(config, cache=kind))
    (plain,) = run_processes(1, _opened, config)
    assert first == second
    assert set(first["kinds"].values()) == {PackedImages}
    assert set(plain["kinds"].values()) == {DecodedImages}
    assert first["images"] == plain["images"]


def test_validation_images_alone_can_be_kept(config: TrainConfig, run_processes: Callable[..., list[Any]]) -> None:
    (found,) = run_processes(1, _opened, replace(config, cache="val"))
    assert found["kinds"] == {"train": DecodedImages, "val": PackedImages}


def test_what_stops_the_builder_stops_all_and_is_said_once(
    config: TrainConfig, run_processes: Callable[..., list[Any]], tmp_path: Path
) -> None:
    (tmp_path / "packed").write_text("a file where the folder should be")
    first, second = run_processes(2, _opened, replace(config, cache="disk"))
    assert first["error"] == second["error"]
    assert "Not a directory; name another folder with --cache-dir, or leave --cache out" in first["error"]
    assert (first["is silent"], second["is silent"]) == (False, True)


def test_the_cache_lies_in_the_users_cache_folder_unless_told_otherwise(config: TrainConfig) -> None:
    assert cache_folder(config) == Path(config.cache_dir)
    assert cache_folder(replace(config, cache_dir="")) == cache_dir() / "images"
    assert cache_folder(replace(config, cache_dir="~/x")) == Path.home() / "x"
