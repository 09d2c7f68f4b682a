"""The `val` command: metrics of a weight file on a split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accel_yolo import console
from accel_yolo.config.data_union import DataUnion, chosen_classes, load_data_union
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.config.val_schema import ValConfig
from accel_yolo.data.eval_loader import EvalLoader, eval_shapes
from accel_yolo.data.index import summary
from accel_yolo.data.splits import SplitOptions, kept_names, open_splits
from accel_yolo.engine import failures
from accel_yolo.engine.build import fitting_imgsz
from accel_yolo.engine.coco_report import Classes, coco_report
from accel_yolo.engine.data_comparison import compare_data
from accel_yolo.engine.evaluate import EvalOptions, evaluate, images_per_pass
from accel_yolo.engine.faults import named_faults
from accel_yolo.engine.loaders import loader_workers
from accel_yolo.engine.preflight import preflight
from accel_yolo.engine.reporting import metrics_json, print_speed, print_table
from accel_yolo.engine.world import World
from accel_yolo.errors import ConfigError
from accel_yolo.files import next_run_folder, write_text_atomic
from accel_yolo.inference.network import Network
from accel_yolo.inference.networks import NetworkOptions, load_network
from accel_yolo.metrics.nms import NmsOptions


def validate(config: ValConfig, launch: LaunchConfig | None = None) -> dict[str, Any]:
    """Return the metrics of a weight file on a split of a data set, and write them to a run folder.

    Raises:
        UserError: bad data, weights, or settings; one line.
    """
    world = World.start(config.device, config.precision, launch, "val")
    with named_faults(f"--batch {config.batch} at --imgsz {config.imgsz}", config.batch, world):
        preflight(world, config, launch)
        metrics = _validated(config, world)
    world.end()
    return metrics


def _validated(config: ValConfig, world: World) -> dict[str, Any]:
    with world.together(), world.one_per_machine_first():
        union = load_data_union(config.data, (config.task,))
        how = NetworkOptions(config.precision, config.augment, config.fusion, config.dnn)
        network = load_network(config.weights, world.device, how)
        options = _split_options(config, union, network)
        names = kept_names(union.names, options)
        _require_classes(config, network, names)
        index = open_splits(union, (config.task,), options)[config.task]
        imgsz = _imgsz(config, network)
    chosen = ""
    with world.together():
        # Before the work, so that a folder that cannot be written costs none.
        if world.is_leader:
            chosen = str(next_run_folder(Path(config.project), config.name, config.exist_ok))
    folder = Path(world.share_text(chosen))
    failures.write_to(folder)
    compare_data(world, union, {config.task: index})
    console.say(summary(index, config.task))
    shapes = eval_shapes(index.sizes_hw, imgsz, network.stride, network.fixed_hw)
    batch = images_per_pass(config.batch, world.device)
    loader = EvalLoader(index, imgsz, shapes, batch, loader_workers(config.workers, config.batch, world))
    shown = None if config.single_cls or options.renumbered else options.classes or None
    nms = NmsOptions(config.conf_thres, config.iou_thres, shown, config.single_cls, True, config.max_det)
    result = evaluate(network, loader, EvalOptions(nms, single_cls=config.single_cls), world)
    metrics = metrics_json(result, index, names)
    if world.is_leader:
        print_table(metrics, per_class=config.verbose or len(names) < 50)
        if config.save_json or union.is_coco:
            predictions = folder / f"{Path(config.weights[0]).stem}_predictions.json"
            measured = _measured(config, options, names)
            metrics["coco"] = coco_report(result, index, (union, config.task), measured, predictions)
            console.say(f"COCO evaluation: AP {metrics['coco']['ap']:.4f}, AP50 {metrics['coco']['ap50']:.4f}")
        write_text_atomic(folder / "metrics.json", json.dumps(metrics, indent=1) + "\n")
        print_speed(metrics)
        console.say(f"Results in {console.painted(str(folder), 'bold')}")
    return metrics


def _imgsz(config: ValConfig, network: Network) -> int:
    """Return the longer side of the content of network inputs, px."""
    if network.fixed_hw is None:
        return fitting_imgsz(config.imgsz, network)
    network.tell_fixed_size((config.imgsz, config.imgsz))
    return max(network.fixed_hw)


def _split_options(config: ValConfig, union: DataUnion, network: Network) -> SplitOptions:
    """Return how the split is read: a detector of the chosen classes only has them numbered anew."""
    classes = chosen_classes(union.names, config.classes)
    renumbered = len(network.names) == len(classes) != len(union.names)
    return SplitOptions(config.single_cls, config.bad_data, config.workers, classes, renumbered)


def _measured(config: ValConfig, options: SplitOptions, names: dict[int, str]) -> Classes:
    """Return the classes that detections have, and what they are in the data set."""
    numbers = options.classes if options.classes and options.renumbered else tuple(range(len(names)))
    return Classes(names, numbers[: len(names)], some=bool(options.classes) or config.single_cls)


def _require_classes(config: ValConfig, network: Network, names: dict[int, str]) -> None:
    known = len(network.names)
    if known != len(names) and not config.single_cls:
        raise ConfigError(
            f"the weights know {known} classes, the data set has {len(names)}",
            f"{config.weights[0]} and {' '.join(config.data)}",
            remedy="use the data set (and --classes) the weights were trained on, or --single-cls",
        )
