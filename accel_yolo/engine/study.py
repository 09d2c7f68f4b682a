"""`val --task study`: how accurate and how fast each model is at each image size."""

from __future__ import annotations

from pathlib import Path

from accel_yolo import console
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.config.resolve import Origins
from accel_yolo.config.val_schema import ValConfig
from accel_yolo.data.index import summary
from accel_yolo.engine.build import fitting_imgsz
from accel_yolo.engine.data_comparison import compare_data
from accel_yolo.engine.evaluate import Evaluation
from accel_yolo.engine.faults import named_faults
from accel_yolo.engine.preflight import preflight
from accel_yolo.engine.subject import Subject, evaluated, open_subject
from accel_yolo.engine.validate import run_folder, save_settings
from accel_yolo.engine.world import World
from accel_yolo.reports.study import StudyRow, model_names, plot_study, write_study

COLUMNS = ("Weights", "Size", "P", "R", "mAP50", "mAP50-95", "ms", "prepare", "network", "nms")


def study(config: ValConfig, launch: LaunchConfig | None = None, origins: Origins | None = None) -> list[StudyRow]:
    """Return accuracy and speed of every model at every image size, and write them to a run folder.

    Metrics are those of `--task val` at the same size. Each of several weights is a model of its own. For the
    arguments see `validate`.

    Raises:
        UserError: bad data, weights, or settings; one line.
    """
    world = World.start(config.device, config.precision, launch, "val")
    with named_faults(f"--batch {config.batch} at --imgsz {max(config.imgsz)}", config.batch, world):
        preflight(world, config, launch)
        rows = _measured(config, origins or {}, world)
    world.end()
    return rows


def _measured(config: ValConfig, origins: Origins, world: World) -> list[StudyRow]:
    # All are opened before the first is measured: the last of them may be the wrong one.
    with world.together(), world.one_per_machine_first():
        subjects = {weights: open_subject(config, (weights,), world) for weights in config.weights}
        sizes = {weights: _fitting(config.imgsz, subject) for weights, subject in subjects.items()}
    folder = run_folder(config, world)
    with world.together():
        if world.is_leader:
            save_settings(folder, config, origins)
    first = next(iter(subjects.values()))
    compare_data(world, first.union, {config.split: first.index})
    console.say(summary(first.index, config.split))
    rows: list[StudyRow] = []
    for weights, subject in subjects.items():
        for imgsz in sizes[weights]:
            result = evaluated(subject, config, imgsz, world)
            rows.append(_row(weights, imgsz, result))
            if world.is_leader:
                # After each, so that a study that is stopped leaves what it has.
                write_study(folder, rows, Path(config.data[0]).stem)
    if world.is_leader:
        names = model_names(config.weights)
        console.table([(names[row.weights], *_cells(row)) for row in rows], COLUMNS)
        if not config.noplots:
            plot_study(folder / "study.png", rows, str(world.device))
        console.say(f"Results in {console.painted(str(folder), 'bold')}")
    return rows


def _fitting(sizes: tuple[int, ...], subject: Subject) -> list[int]:
    """Return the sizes in whole strides, rising, each once; of an exported model of one size that one."""
    if subject.network.fixed_hw is not None:
        return [max(subject.network.fixed_hw)]
    return sorted({fitting_imgsz(size, subject.network) for size in sizes})


def _row(weights: str, imgsz: int, result: Evaluation) -> StudyRow:
    ap = result.ap
    accuracy = (ap.mean_precision, ap.mean_recall, ap.map50, ap.map50_95)
    return StudyRow(weights, imgsz, *accuracy, *result.speed_ms.values())


def _cells(row: StudyRow) -> tuple[object, ...]:
    accuracy = (f"{value:.3f}" for value in (row.precision, row.recall, row.map50, row.map50_95))
    times = (f"{value:.1f}" for value in (row.ms, row.prepare_ms, row.network_ms, row.nms_ms))
    return (row.imgsz, *accuracy, *times)
