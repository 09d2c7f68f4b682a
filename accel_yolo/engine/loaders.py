"""The loaders of a run: who renders what, from which images, where."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from accel_yolo import console
from accel_yolo.config.schema import TrainConfig
from accel_yolo.data.device_images import DeviceImages
from accel_yolo.data.device_loader import DeviceLoader
from accel_yolo.data.eval_loader import EvalLoader, eval_shapes
from accel_yolo.data.images import Load
from accel_yolo.data.loader import TrainLoader
from accel_yolo.data.order import RectLayout
from accel_yolo.data.packed import DecodedImages
from accel_yolo.data.partners import PartnerGroups
from accel_yolo.data.plan import PlanSource
from accel_yolo.data.planned_samples import PlannedSamples
from accel_yolo.data.quad import QuadSamples
from accel_yolo.data.room import usable_cores
from accel_yolo.data.samples import TrainSamples
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.data.user_augmentation import UserAugmentation, load_augmentation
from accel_yolo.data.weighting import by_average_precision, by_repeat_factor
from accel_yolo.data.workers import Workers, default_workers
from accel_yolo.engine.build import Data, Training
from accel_yolo.engine.dealing import dealt_out
from accel_yolo.engine.evaluate import images_per_pass
from accel_yolo.engine.image_cache import opened_caches
from accel_yolo.engine.kernels import pixel_programs
from accel_yolo.engine.world import World
from accel_yolo.errors import ConfigError
from accel_yolo.models.detector import Detector

# Evaluation batches hold at most this many images on a process, whatever the training batch is.
EVAL_BATCH = 32


def build_loaders(
    config: TrainConfig, data: Data, training: Training, world: World, loads: Mapping[str, Load] | None = None
) -> tuple[TrainLoader, EvalLoader]:
    """Return this process's share of the training data, and the evaluation batches.

    Args:
        config: the run, with its final image size.
        data: its data.
        training: what is trained.
        world: all processes take part.
        loads: what gives the images of each split; None decodes them or opens their cache, as the run asks for.
    """
    loads = loads or opened_caches(config, {"train": data.train, "val": data.val}, world)
    stride = max(32, *training.detector.strides)
    train_loader = _train_loader(config, data.train, training.detector, world, loads["train"])
    shapes = eval_shapes(data.val.sizes_hw, config.imgsz, stride)
    eval_batch = images_per_pass(min(2 * config.batch, EVAL_BATCH), world.device)
    workers = loader_workers(config.workers, config.batch // world.size, world)
    return train_loader, EvalLoader(data.val, config.imgsz, shapes, eval_batch, workers, loads["val"])


def require_augmentation(config: TrainConfig) -> None:
    """Import the user's augmentation, if there is one. Raises ConfigError."""
    if config.augment_with:
        load_augmentation(config.augment_with)


def loader_workers(wanted: int, images: int, world: World) -> Workers:
    """Return the workers of one process."""
    cores = usable_cores()
    count = default_workers(wanted, images, cores, world.local_size)
    threads = torch.get_num_threads()
    console.detail(f"{count} data workers of {wanted} wanted and {threads} threads in each process, {cores} cores")
    # Half of the time after which the other processes would give up waiting for this one.
    return Workers(count, pin_memory=world.device.type == "cuda", patience_s=world.timeout_s / 2)


def plan_source(config: TrainConfig, index: SplitIndex, stride: int, classes: int) -> PlanSource:
    """Return what the plans of a run are made from.

    Args:
        config: the run, with its final image size.
        index: the training split.
        stride: sides of rectangular batches are multiples of it, px.
        classes: number of classes.
    """
    sizes = index.sizes_hw
    rect = RectLayout.plan(sizes, config.batch, imgsz=config.imgsz, stride=stride) if config.rect else None
    groups = PartnerGroups(len(sizes), config.batch, config.decode_once) if config.decode_once else None
    mosaic_epochs = max(config.epochs - config.close_mosaic, 0) if config.close_mosaic else None
    draw = None
    if config.image_weights:  # as long as nothing has been validated, no class is detected at all
        draw = by_average_precision(index, (0.0,) * classes)
    elif config.class_balanced:
        draw = by_repeat_factor(index, config.class_balanced)
    return PlanSource(sizes, config.imgsz, config.hyp, rect, groups, mosaic_epochs, draw)


def host_samples(
    config: TrainConfig,
    index: SplitIndex,
    source: PlanSource,
    classes: int,
    load: Load | None = None,
    *,
    colour: bool = True,
) -> TrainSamples | QuadSamples:
    """Return what renders the training samples of a run on the host.

    Args:
        config: the run, with its final image size.
        index: the training split.
        source: see `plan_source`.
        classes: number of classes.
        load: what gives its images; None decodes them.
        colour: see `TrainSamples`.
    """
    own = UserAugmentation(config.augment_with, classes, config.seed) if config.augment_with else None
    load = load or DecodedImages(index, config.imgsz, augmenting=True)
    samples = TrainSamples(index, source, config.seed, load, colour=colour, augment=own)
    return QuadSamples(samples) if config.quad else samples


def _train_loader(config: TrainConfig, index: SplitIndex, detector: Detector, world: World, load: Load) -> TrainLoader:
    source = plan_source(config, index, max(32, *detector.strides), detector.nc)
    with world.together():
        places, pieces = dealt_out(config, world)
    workers = loader_workers(config.workers, len(places), world)
    if config.cache == "device":
        with world.together():
            if world.device.type == "cpu":
                raise ConfigError("there is no GPU that could keep the images", "--cache", "device", "use --cache")
            sizes_hw = [source.loaded_hw(image) for image in range(len(source))]
            images = DeviceImages.load(load, sizes_hw, world.device, max(config.workers, 1))
            planned = PlannedSamples(index, source, config.seed)
            return DeviceLoader(planned, images, config.batch, places, workers, pieces, pixel_programs(config, world))
    # A GPU changes colours on its way to normalised input; elsewhere the workers are faster.
    in_workers = world.device.type != "cuda" or config.quad or bool(config.augment_with)
    samples = host_samples(config, index, source, detector.nc, load, colour=in_workers)
    return TrainLoader(samples, config.batch, places, workers, pieces)
