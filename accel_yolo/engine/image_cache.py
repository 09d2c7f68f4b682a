"""Where the pixels of a run come from: image files, decoded each time, or one cache for all processes of a machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from accel_yolo import console, files
from accel_yolo.config.schema import TrainConfig
from accel_yolo.data.images import Load
from accel_yolo.data.packed import DecodedImages, Packing, require_room, warn_of_memory
from accel_yolo.data.room import amount
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.engine.world import World

IS_AUGMENTED = {"train": True, "val": False}


def cache_folder(config: TrainConfig) -> Path:
    """Return the folder of packed images."""
    return Path(config.cache_dir).expanduser() if config.cache_dir else files.cache_dir() / "images"


def opened_caches(config: TrainConfig, indices: Mapping[str, SplitIndex], world: World) -> dict[str, Load]:
    """Return for each split what gives its resized images by their number.

    One process of each machine makes what is missing, all others wait and open it. The pixels are the same with and
    without a cache.

    Args:
        config: the run, with its final image size.
        indices: the splits "train" and "val".
        world: all processes take part.

    Raises:
        DataError: an image cannot be read.
        EnvironmentFault: there is no room for the cache, or it cannot be written.
    """
    loads: dict[str, Load] = {
        split: DecodedImages(index, config.imgsz, IS_AUGMENTED[split]) for split, index in indices.items()
    }
    folder = cache_folder(config)
    packings = {
        split: Packing.of(index, config.imgsz, augmenting=IS_AUGMENTED[split], folder=folder)
        for split, index in indices.items()
        if config.cache and (split == "val" or config.cache != "val")
    }
    if not packings:
        return loads
    warn_of_memory(list(packings.values()))
    with world.together(), world.one_per_machine_first():
        require_room(list(packings.values()))
        loads |= {split: packing.open(config.workers) for split, packing in packings.items()}
    size = sum({packing.file: packing.layout.file_bytes for packing in packings.values()}.values())
    console.say(f"Image cache: {amount(size)} in {folder}")
    return loads
