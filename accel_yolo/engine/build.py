"""What a training run is built from: data, detector, optimizer, in the one order that is right."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from accel_yolo import console
from accel_yolo.config.data_union import DataUnion, chosen_classes, load_data_union
from accel_yolo.config.schema import TrainConfig
from accel_yolo.data.autoanchor import fitted
from accel_yolo.data.index import SplitIndex, summary
from accel_yolo.data.splits import SplitOptions, kept_names, open_splits
from accel_yolo.engine.batchnorm import convert_batchnorm
from accel_yolo.engine.data_comparison import compare_data
from accel_yolo.engine.dealing import dealt_out
from accel_yolo.engine.ema import Ema
from accel_yolo.engine.evaluate import EvalOptions
from accel_yolo.engine.gradient import Gradient, OrderedGradient
from accel_yolo.engine.kernels import choose_kernels, pixel_programs
from accel_yolo.engine.loss_course import LossCourse
from accel_yolo.engine.module_watch import ModuleWatch
from accel_yolo.engine.optim import build_optimizer
from accel_yolo.engine.trainable import Trainable
from accel_yolo.engine.world import World
from accel_yolo.errors import ConfigError
from accel_yolo.inference.network import Network
from accel_yolo.losses.detection import LossOptions
from accel_yolo.metrics.nms import NmsOptions
from accel_yolo.models.detector import Detector
from accel_yolo.models.freezing import freeze, frozen_share
from accel_yolo.models.weights import detector_from_weights, find_weights, load_weights, transfer
from accel_yolo.models.weights_meta import Weights, WeightsMeta
from accel_yolo.models.zoo import build_detector, model_spec
from accel_yolo.version import __version__

# A mosaic of less than this many strides holds nothing.
LEAST_TRAINING_STRIDES = 2


@dataclass(frozen=True)
class Data:
    """Indices of a run and the names of its classes."""

    union: DataUnion
    names: dict[int, str]
    train: SplitIndex
    val: SplitIndex


@dataclass(frozen=True)
class Training:
    """Everything that learns.

    Attributes:
        config: the run's configuration, with an image size that fits the detector.
        detector: the detector inside `model`.
        model: detector and loss, prepared for the world.
        optimizer: prepared likewise.
        ema: the averaged copy.
        gradient: how the gradients of all processes become one.
        loss: loss options, scaled.
        evaluation: how epochs are validated.
        meta: what the weights are and where they come from.
        modules: looks into the detector (`--debug-nan`); None else.
        course: the loss so far.
    """

    config: TrainConfig
    detector: Detector
    model: nn.Module
    optimizer: Any
    ema: Ema
    gradient: Gradient
    loss: LossOptions
    evaluation: EvalOptions
    meta: WeightsMeta
    modules: ModuleWatch | None = None
    course: LossCourse = field(default_factory=LossCourse)


@console.timed("opening the data")
def open_data(config: TrainConfig, world: World) -> Data:
    """Return the verified indices of the training and validation split, equal on all processes."""
    with world.together(), world.one_per_machine_first():
        union = load_data_union(config.data)
        classes = chosen_classes(union.names, config.classes)
        options = SplitOptions(
            config.single_cls, config.bad_data, config.workers, classes, fraction=config.fraction, seed=config.seed
        )
        names, indices = kept_names(union.names, options), open_splits(union, ("train", "val"), options)
        if not len(indices["train"].labels):
            chosen = " ".join(config.classes) or None
            raise ConfigError("no objects to learn from in the training split", union.files, chosen)
    compare_data(world, union, indices)
    for split, index in indices.items():
        console.say(summary(index, split))
    return Data(union, names, **indices)


def fitting_imgsz(imgsz: int, detector: Detector | Network, least_strides: int = 1) -> int:
    """Return an image size rounded up to whole strides of the detector; a warning says so when it changes."""
    stride, fitting = max(32, *detector.strides), whole_strides(imgsz, detector, least_strides)
    if fitting != imgsz:
        reason = f"is no multiple of {stride}" if imgsz % stride else f"is less than {least_strides} x {stride}"
        console.warn(f"--imgsz {imgsz} {reason}; using {fitting}")
    return fitting


def whole_strides(imgsz: int, detector: Detector | Network, least: int = 1) -> int:
    """Return an image size in px rounded up to whole strides of the detector, at least so many of them."""
    stride = max(32, *detector.strides)
    return max(math.ceil(imgsz / stride), least) * stride


def untrained_detector(config: TrainConfig, names: dict[int, str]) -> Detector:
    """Return a detector like the one of a run in everything but its numbers, with what is frozen there."""
    spec = _spec_of(config) if config.cfg else load_weights(find_weights(config.weights)).meta.spec
    detector = build_detector(spec, names, seed=config.seed)
    freeze(detector, config.freeze)
    return detector


def build_detector_for(config: TrainConfig, names: dict[int, str]) -> tuple[Detector, WeightsMeta | None]:
    """Return the detector of a run with pretrained weights transferred where they fit, and what those say."""
    if not config.weights:
        detector, meta = build_detector(_spec_of(config), names, seed=config.seed), None
    else:
        weights = load_weights(find_weights(config.weights))
        spec = _spec_of(config) if config.cfg else weights.meta.spec
        detector, meta = build_detector(spec, names, seed=config.seed), weights.meta
        own_anchors = bool(config.cfg or config.hyp.anchors)
        transfer(detector, weights.state, own_anchors, f"{config.weights} and {config.cfg or 'its own model'}")
    return detector, meta


def _spec_of(config: TrainConfig) -> dict[str, Any]:
    spec = model_spec(config.cfg)
    return {**spec, "anchors": round(config.hyp.anchors)} if config.hyp.anchors else spec


def refit_anchors(config: TrainConfig, detector: Detector, index: SplitIndex) -> None:
    """Replace the anchors when they do not fit the labels; seeded, hence the same on every process.

    Raises:
        ConfigError: fitting is forbidden but the model has only a number of anchors.
    """
    if config.noautoanchor:
        if detector.anchors_are_placeholder:
            remedy = "leave --noautoanchor out, or write anchors into the model YAML"
            raise ConfigError("the model has no anchors", config.cfg, detector.spec["anchors"], remedy)
        return
    anchors_px = detector.anchors_px.cpu().numpy()
    fit = fitted(index, config.imgsz, anchors_px, seed=config.seed, anchor_t=config.hyp.anchor_t)
    if fit.changed:
        detector.set_anchors_px(torch.from_numpy(fit.anchors_px))
        console.say(f"Anchors refitted: {fit.recall_before:.2%} -> {fit.recall:.2%} of the objects in reach")
    else:
        console.say(
            f"Anchors kept: {fit.recall_before:.2%} of the objects in reach, {fit.per_target_before:.2f} anchors each"
        )


def described_detector(config: TrainConfig, data: Data, resumed: Weights | None) -> tuple[Detector, WeightsMeta]:
    """Return the detector of a run and what its weight files will say.

    Args:
        config: the run.
        data: its data.
        resumed: the last weights of a run that is taken up again, which then says what is trained; the files that
            the run started from need not exist any more.
    """
    if resumed is not None:
        detector = detector_from_weights(resumed)
        freeze(detector, config.freeze)
        return detector, resumed.meta
    detector, parent = build_detector_for(config, data.names)
    if freeze(detector, config.freeze):
        console.say(f"Frozen: {frozen_share(detector)} (--freeze {' '.join(map(str, config.freeze))})")
    refit_anchors(config, detector, data.train)
    step = f"trained on {data.union.label} for {config.epochs} epochs by accel_yolo {__version__}"
    if parent is None:
        return detector, WeightsMeta.of(detector, config.imgsz, step)
    return detector, parent.derived(step, detector, config.imgsz)


@console.timed("building the model")
def build_training(config: TrainConfig, data: Data, resumed: Weights | None, world: World) -> Training:
    """Return detector, loss, optimizer and average, prepared; `resumed` as in `described_detector`.

    The order is the only legal one: anchors before the average is copied, the average before BatchNorm changes kind
    and before autocast is wrapped around the forward pass, the optimizer after both.
    """
    with world.together(), world.one_per_machine_first():
        detector, meta = described_detector(config, data, resumed)
        config = replace(config, imgsz=fitting_imgsz(config.imgsz, detector, LEAST_TRAINING_STRIDES))
        meta = replace(meta, imgsz=config.imgsz)
    detector = detector.to(world.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    ema = Ema(detector, config.ema_decay, config.ema_tau)
    convert_batchnorm(detector, sync=config.sync_bn, group=config.bn_group // config.unit, world_size=world.size)
    loss = loss_options(config, detector)
    trainable = Trainable(detector, loss, pixel_programs(config, world).jitter_colour).train()
    choose_kernels(detector, config, max(map(len, dealt_out(config, world)[1])), world)
    optimizer = build_optimizer(detector, config)
    model, optimizer = world.prepare(trainable, optimizer, exchange=not config.bit_exact)
    gradient = (OrderedGradient if config.bit_exact else Gradient)(model, detector, world)
    nms = NmsOptions(conf_thres=0.001, iou_thres=0.6, multi_label=True, agnostic=config.single_cls)
    evaluation = EvalOptions(nms, loss, config.hyp.anchor_t, config.single_cls)
    modules = ModuleWatch(detector) if config.debug_nan else None
    return Training(config, detector, model, optimizer, ema, gradient, loss, evaluation, meta, modules)


def loss_options(config: TrainConfig, detector: Detector) -> LossOptions:
    """Return the loss options of a run, gains scaled."""
    hyp = config.hyp
    options = LossOptions(
        box=hyp.box,
        obj=hyp.obj,
        cls=hyp.cls,
        cls_pw=hyp.cls_pw,
        obj_pw=hyp.obj_pw,
        fl_gamma=hyp.fl_gamma,
        label_smoothing=config.label_smoothing,
        nc=detector.nc,
        levels=len(detector.strides),
    )
    return options.scaled(config.imgsz)
