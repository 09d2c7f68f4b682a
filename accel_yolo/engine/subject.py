"""What a validation measures: a network on a split of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from accel_yolo import console
from accel_yolo.config.data_union import DataUnion, chosen_classes, load_data_union
from accel_yolo.config.val_schema import SPEED, ValConfig
from accel_yolo.data.eval_loader import EvalLoader, eval_shapes
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.data.splits import SplitOptions, kept_names, open_splits
from accel_yolo.engine.build import fitting_imgsz
from accel_yolo.engine.coco_report import Classes
from accel_yolo.engine.evaluate import EvalOptions, Evaluation, evaluate, images_per_pass
from accel_yolo.engine.loaders import loader_workers
from accel_yolo.engine.world import World
from accel_yolo.errors import ConfigError
from accel_yolo.inference.network import Network
from accel_yolo.inference.networks import NetworkOptions, load_network
from accel_yolo.metrics.nms import NmsOptions


@dataclass(frozen=True)
class Subject:
    """A network and the split it is measured on.

    Attributes:
        network: on the device of this process.
        union: the data sets.
        options: how the split was read.
        names: the classes that are measured, numbered as labels are.
        index: the images.
    """

    network: Network
    union: DataUnion
    options: SplitOptions
    names: dict[int, str]
    index: SplitIndex

    @property
    def classes(self) -> Classes:
        """The classes that detections have, and what they are in the data set."""
        some = bool(self.options.classes)
        numbers = self.options.classes if some and self.options.renumbered else tuple(range(len(self.names)))
        return Classes(self.names, numbers[: len(self.names)], some=some or self.options.single_cls)


@console.timed("opening weights and data")
def open_subject(config: ValConfig, weights: Sequence[str], world: World) -> Subject:
    """Return a network and its split.

    Args:
        config: data and how the network runs.
        weights: one file, or those of an ensemble.
        world: where the network is put.

    Raises:
        UserError: bad data or weights, or weights of other classes.
    """
    union = load_data_union(config.data, (config.split,))
    how = NetworkOptions(config.precision, config.augment, config.fusion, config.dnn)
    network = load_network(weights, world.device, how)
    classes = chosen_classes(union.names, config.classes)
    # A detector of the chosen classes only has them numbered anew.
    renumbered = len(network.names) == len(classes) != len(union.names)
    options = SplitOptions(config.single_cls, config.bad_data, config.workers, classes, renumbered)
    names = kept_names(union.names, options)
    known = len(network.names)
    if known != len(names) and not config.single_cls:
        raise ConfigError(
            f"the weights know {known} classes, the data set has {len(names)}",
            f"{weights[0]} and {' '.join(config.data)}",
            remedy="use the data set (and --classes) the weights were trained on, or --single-cls",
        )
    return Subject(network, union, options, names, open_splits(union, (config.split,), options)[config.split])


def content_px(config: ValConfig, network: Network) -> int:
    """Return the longer side of an image in the network's input, px; one line says where it is not that asked for."""
    if network.fixed_hw is None:
        return fitting_imgsz(config.side_px, network)
    network.tell_fixed_size((config.side_px, config.side_px))
    return max(network.fixed_hw)


@torch.inference_mode()
def warm_up(network: Network, images: int, hw: tuple[int, int]) -> None:
    """Run a network once on black images, so that what follows can be timed."""
    network(torch.zeros((images, 3, *hw), dtype=network.input_dtype, device=network.device))


def evaluated(subject: Subject, config: ValConfig, imgsz: int, world: World) -> Evaluation:
    """Return the evaluation of a subject at one image size; all processes take part.

    For the task of speed the inputs are squares without more padding than that takes.

    Args:
        subject: network and split.
        config: thresholds, batch, workers.
        imgsz: longer side of an image in the network's input, px, whole strides.
        world: the processes.
    """
    index, network = subject.index, subject.network
    if config.task == SPEED and network.fixed_hw is None:
        shapes = np.full((len(index), 2), imgsz, dtype=np.int64)
    else:
        shapes = eval_shapes(index.sizes_hw, imgsz, network.stride, network.fixed_hw)
    batch = images_per_pass(config.batch, world.device)
    loader = EvalLoader(index, imgsz, shapes, batch, loader_workers(config.workers, config.batch, world))
    options = subject.options
    shown = None if config.single_cls or options.renumbered else options.classes or None
    nms = NmsOptions(config.conf_thres, config.iou_thres, shown, config.single_cls, True, config.max_det)
    if config.task not in ("val", "train", "test") and loader.batches:
        first = loader.batches[0]
        height, width = shapes[first[0]].tolist()
        warm_up(network, len(first), (height, width))
    return evaluate(network, loader, EvalOptions(nms, single_cls=config.single_cls, hybrid=config.save_hybrid), world)
