"""The `val` command: metrics of a weight file on a split."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import torch

from accel_yolo import console
from accel_yolo.config.dataset import DataSpec, load_data_spec
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.config.schema import ValConfig
from accel_yolo.data.eval_loader import EvalLoader, eval_shapes
from accel_yolo.data.index import build_index, summary
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.devices import autocast_dtype
from accel_yolo.engine import failures
from accel_yolo.engine.build import class_names, fitting_imgsz
from accel_yolo.engine.coco_report import coco_report
from accel_yolo.engine.data_comparison import compare_data
from accel_yolo.engine.evaluate import EvalOptions, Evaluation, evaluate, images_per_pass
from accel_yolo.engine.faults import named_faults
from accel_yolo.engine.loaders import loader_workers
from accel_yolo.engine.preflight import preflight
from accel_yolo.engine.reporting import metrics_json, print_speed, print_table
from accel_yolo.engine.world import World
from accel_yolo.errors import ConfigError
from accel_yolo.files import next_run_folder, write_text_atomic
from accel_yolo.metrics.nms import NmsOptions
from accel_yolo.models.detector import Detector
from accel_yolo.models.weights import detector_from_weights, find_weights, load_weights


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
        spec = load_data_spec(config.data, (config.task,))
        index = build_index(spec, config.task, nc=len(spec.names), single_cls=config.single_cls,
                            bad_data=config.bad_data, workers=config.workers)  # fmt: skip
        detector = _detector(config, len(spec.names))
        imgsz = fitting_imgsz(config.imgsz, detector)
    chosen = ""
    with world.together():
        # Before the work, so that a folder that cannot be written costs none.
        if world.is_leader:
            chosen = str(next_run_folder(Path(config.project), config.name, config.exist_ok))
    folder = Path(world.share_text(chosen))
    failures.write_to(folder)
    compare_data(world, spec, {config.task: index})
    console.say(summary(index, config.task))
    shapes = eval_shapes(index.sizes_hw, imgsz, max(32, *detector.strides))
    batch = images_per_pass(config.batch, world.device)
    loader = EvalLoader(index, imgsz, shapes, batch, loader_workers(config.workers, config.batch, world))
    nms = NmsOptions(config.conf_thres, config.iou_thres, None, config.single_cls, True, config.max_det)
    with _autocast(config.precision, world):
        options = EvalOptions(nms, single_cls=config.single_cls)
        result = evaluate(detector.to(world.device), loader, options, world)
    metrics = metrics_json(result, index, class_names(spec, config.single_cls))
    if world.is_leader:
        _write(folder, config, metrics, result, index, spec)
    return metrics


def _detector(config: ValConfig, nc: int) -> Detector:
    first, *more = config.weights
    if more:
        raise ConfigError("ensembles are not available yet", "--weights", " ".join(config.weights), "give one file")
    detector = detector_from_weights(load_weights(find_weights(first)))
    if detector.nc != nc and not config.single_cls:
        raise ConfigError(
            f"the weights know {detector.nc} classes, the data set has {nc}",
            f"{first} and {config.data}",
            remedy="use the data set the weights were trained on, or --single-cls",
        )
    return detector


def _autocast(precision: str, world: World) -> contextlib.AbstractContextManager[object]:
    """Metrics are computed in float32 unless the user typed another precision."""
    dtype = autocast_dtype(precision, world.device)
    return torch.autocast(world.device.type, dtype) if dtype else contextlib.nullcontext()


def _write(
    folder: Path, config: ValConfig, metrics: dict[str, Any], result: Evaluation, index: SplitIndex, spec: DataSpec
) -> None:
    print_table(metrics, per_class=config.verbose or len(spec.names) < 50)
    if config.save_json or spec.is_coco:
        predictions = folder / f"{Path(config.weights[0]).stem}_predictions.json"
        metrics["coco"] = coco_report(result, index, spec, predictions)
        console.say(f"COCO evaluation: AP {metrics['coco']['ap']:.4f}, AP50 {metrics['coco']['ap50']:.4f}")
    write_text_atomic(folder / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    print_speed(metrics)
    console.say(f"Results in {console.painted(str(folder), 'bold')}")
