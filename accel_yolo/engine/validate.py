"""The `val` command: metrics of a weight file on a split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accel_yolo import console
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.config.resolve import Origins, save_config
from accel_yolo.config.val_schema import SPEED, ValConfig
from accel_yolo.data.index import summary
from accel_yolo.engine import failures
from accel_yolo.engine.coco_report import coco_report
from accel_yolo.engine.data_comparison import compare_data
from accel_yolo.engine.evaluate import images_per_pass
from accel_yolo.engine.faults import named_faults
from accel_yolo.engine.findings import Findings, print_sizes, shared_metrics, write_findings
from accel_yolo.engine.gallery import Gallery
from accel_yolo.engine.label_files import write_label_files
from accel_yolo.engine.preflight import preflight
from accel_yolo.engine.reporting import print_speed, print_table
from accel_yolo.engine.subject import Subject, content_px, evaluated, open_subject
from accel_yolo.engine.world import World
from accel_yolo.files import next_run_folder, write_text_atomic
from accel_yolo.inference.output.texts import LABELS, label_folder
from accel_yolo.reports.html.report import REPORT, leave_report

MOST_LISTED = 50
"""From this many classes on they are printed only with --verbose."""


def validate(config: ValConfig, launch: LaunchConfig | None = None, origins: Origins | None = None) -> dict[str, Any]:
    """Return the metrics of a weight file on a split of a data set, and write them to a run folder.

    Args:
        config: what is measured, and how.
        launch: how processes were asked for.
        origins: where each setting came from, for the `config.yaml` of the run folder.

    Raises:
        UserError: bad data, weights, or settings; one line.
    """
    world = World.start(config.device, config.precision, launch, "val")
    with named_faults(f"--batch {config.batch} at --imgsz {config.side_px}", config.batch, world):
        preflight(world, config, launch)
        metrics = _validated(config, origins or {}, world)
    world.end()
    return metrics


def _validated(config: ValConfig, origins: Origins, world: World) -> dict[str, Any]:
    with world.together(), world.one_per_machine_first():
        subject = open_subject(config, config.weights, world)
        imgsz = content_px(config, subject.network)
    folder = run_folder(config, world)
    index = subject.index
    compare_data(world, subject.union, {config.split: index})
    console.say(summary(index, config.split))
    if config.save_hybrid:
        console.warn("--save-hybrid puts the labels among the detections: the metrics below mean nothing")
    gallery = Gallery.of_validation(folder, config, subject, world)
    result = evaluated(subject, config, imgsz, world)
    gallery.conclude(result)
    found = Findings(result, index, subject.names)
    metrics = shared_metrics(found, world)
    if world.is_leader:
        _print(metrics, config, len(config.classes or subject.names))
        _write_detections(folder, subject, found, config, metrics)
        save_settings(folder, config, origins)
        write_text_atomic(folder / "metrics.json", json.dumps(metrics, indent=1) + "\n")
        write_findings(folder, found, metrics, worst=config.worst, pictures=not config.noplots)
        gallery.close()
        leave_report(folder)
        print_speed(metrics)
        if config.task == SPEED:
            batch = images_per_pass(config.batch, world.device)
            console.say(f"Measured in passes of {batch} images of {imgsz} x {imgsz} px")
        console.say(f"Results in {console.painted(str(folder), 'bold')}, on one page in its {REPORT}")
    return metrics


def run_folder(config: ValConfig, world: World) -> Path:
    """Return the new run folder, the same on all processes. Raises UserError on all of them."""
    chosen = ""
    with world.together():
        # Before the work, so that a folder that cannot be written costs none.
        if world.is_leader:
            chosen = str(next_run_folder(Path(config.project), config.name, config.exist_ok))
            if config.save_txt or config.save_hybrid:
                label_folder(Path(chosen))
            failures.remove_earlier(Path(chosen))
    folder = Path(world.share_text(chosen))
    failures.write_to(folder)
    return folder


def save_settings(folder: Path, config: ValConfig, origins: Origins) -> None:
    """Write `config.yaml`; the metrics of an earlier run in this folder, which had other settings, go first.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    (folder / "metrics.json").unlink(missing_ok=True)
    save_config(folder / "config.yaml", config, origins)


def _print(metrics: dict[str, Any], config: ValConfig, classes: int) -> None:
    per_class = config.verbose or classes < MOST_LISTED
    print_table(metrics, per_class=per_class)
    if not per_class:
        console.note(f"{len(metrics['per_class'])} classes with labels: see per_class.csv, or give --verbose")
    print_sizes(metrics)


def _write_detections(
    folder: Path, subject: Subject, found: Findings, config: ValConfig, metrics: dict[str, Any]
) -> None:
    """Write the detections as asked for, and add COCO's own measure to the metrics where it is wanted."""
    if config.save_json or subject.union.is_coco:
        predictions = folder / f"{Path(config.weights[0]).stem}_predictions.json"
        split = (subject.union, config.split)
        metrics["coco"] = coco_report(found.result, found.coco, subject.index, split, subject.classes, predictions)
        console.say(f"COCO evaluation: AP {metrics['coco']['ap']:.4f}, AP50 {metrics['coco']['ap50']:.4f}")
    if config.save_txt or config.save_hybrid:
        written = write_label_files(folder, found.result, subject.index, confidence=config.save_conf)
        console.say(f"{written} label files in {folder / LABELS}")
