"""The `profile` command: how training scales on this machine, measured, explained and extrapolated."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from accel_yolo import console
from accel_yolo.config.data_folder import find_data
from accel_yolo.config.launch_schema import ProfileConfig
from accel_yolo.config.launching import LaunchPlan, device_indices, visible_names
from accel_yolo.config.settings import flag_of
from accel_yolo.config.shipped import find_config
from accel_yolo.data.room import usable_cores
from accel_yolo.devices import no_such_device
from accel_yolo.engine.device import choose_precision
from accel_yolo.engine.launch import launch
from accel_yolo.engine.launched import adopt_launch
from accel_yolo.engine.measure import WorldReport, measure, training_config
from accel_yolo.errors import ConfigError, StoppedByPeer
from accel_yolo.files import next_run_folder, remove_unused_run_folder, write_text_atomic
from accel_yolo.lifeline import end_with_parent
from accel_yolo.reports.scaling import Scale
from accel_yolo.reports.scaling_plot import plot
from accel_yolo.reports.scaling_table import COLUMNS, Report
from accel_yolo.reports.step_parts import PART_COLUMNS

_PASSED_ON = (
    "data", "cfg", "imgsz", "batch_per_process", "steps", "precision", "workers", "bn_group", "decode_once", "cache",
    "cache_dir", "interface",
)  # fmt: skip

MOST_LOAD = 0.5
"""Average number of other running programs that spoil a measurement."""


def profile(config: ProfileConfig) -> None:
    """Measure every number of processes and report, or, in a process that was started for it, measure this one.

    Raises:
        UserError: settings that cannot be, too few GPUs, or whatever stopped a measurement.
    """
    if config.into:
        end_with_parent(signal.SIGTERM)
        report = measure(config, Path(config.into).parent)
        if report is not None:
            write_text_atomic(Path(config.into), json.dumps(report.to_json()))
        return
    if adopt_launch().size > 1:
        remedy = "start it without a launcher: it starts the processes itself"
        error = ConfigError("`profile` was started by a launcher", remedy=remedy)
        error.already_reported = console.is_follower()
        raise error
    counts = tuple(sorted(set(config.processes)))
    for count in counts:
        training_config(config, count)  # a setting that cannot be is found before anything is started
    find_config("models", config.cfg, "--cfg")
    find_data(config.data, "--data")
    devices = _devices(config, counts[-1])
    choose_precision(config.precision, on_cpu=not devices and config.device != "mps")
    folder = next_run_folder(Path(config.project), config.name, config.exist_ok)
    load = _load()
    try:
        _tell(config, [_measured_world(config, count, devices[:count], folder) for count in counts], folder, load)
    finally:
        remove_unused_run_folder(folder)


def _load() -> str:
    """Return what the system says about other work on this machine, after a warning if there is some."""
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows
        return ""
    if load > MOST_LOAD:
        console.warn(f"this machine is busy (load {load:.1f}): times vary, and processes look as if they did not scale")
    return f"; load of the machine before: {load:.1f}"


def _devices(config: ProfileConfig, most: int) -> tuple[int, ...]:
    """Return the GPUs of the largest world; () for the CPU.

    Raises:
        ConfigError: there are fewer GPUs than processes.
    """
    if config.device == "mps" and most > 1:
        raise ConfigError("mps is one device", "--processes", most, "use --processes 1, or --device cpu")
    found = torch.cuda.device_count()
    if config.device in ("cpu", "mps") or (config.device == "" and found == 0):
        cores = usable_cores()
        if most > cores and config.device != "mps":
            console.warn(f"{most} processes on {cores} cores: what is measured is how they wait for each other")
        return ()
    named = device_indices(config.device) or tuple(range(found))
    if not named or max(named) >= found:
        raise no_such_device(config.device, found)
    if most > len(named):
        remedy = f"give at most {len(named)}, or --device cpu"
        raise ConfigError(f"more processes than GPUs ({len(named)})", "--processes", most, remedy)
    return named


def _measured_world(config: ProfileConfig, count: int, devices: tuple[int, ...], folder: Path) -> WorldReport:
    """Start `count` processes, wait for them and return what they measured."""
    console.say(f"Measuring {count} {'process' if count == 1 else 'processes'} ...")
    with tempfile.TemporaryDirectory(prefix=".measuring-", dir=folder) as scratch:
        into = Path(scratch) / "world.json"
        words = _words(config, devices, into)
        if count == 1:
            # No launcher: what trains alone is not wrapped for exchange either.
            code = subprocess.run([sys.executable, "-m", "accel_yolo", "profile", *words]).returncode
        else:
            names = visible_names(devices) if devices else ()
            plan = LaunchPlan(count, names, devices, use_cpu=not devices)
            code = launch(plan, "profile", words, announce=False)
        if code:
            raise StoppedByPeer(code, f"measuring {count} processes failed")
        return WorldReport.from_json(json.loads(into.read_text()))


def _words(config: ProfileConfig, devices: tuple[int, ...], into: Path) -> list[str]:
    """Return the flags of a process that measures."""
    words = ["--into", str(into.absolute()), "--processes", ",".join(map(str, config.processes))]
    device = ",".join(map(str, devices)) or config.device or "cpu"
    words += ["--device", device]
    for name in _PASSED_ON:
        if value := str(getattr(config, name)):
            words += [flag_of(name), value]
    words += [flag_of(name) for name in ("sync_bn", "compile", "cuda_graphs", "debug") if getattr(config, name)]
    return words


def _tell(config: ProfileConfig, reports: list[WorldReport], folder: Path, load: str) -> None:
    last = reports[-1]
    scale = Scale(config.images or last.images, config.val_images or last.val_images, last.images, last.val_images)
    worlds = tuple(report.measured for report in reports)
    command = shlex.join(["accel-yolo", *sys.argv[1:]]) if "profile" in sys.argv[1:2] else "accel-yolo profile ..."
    tunings = tuple(report.tuning for report in reports)
    report = Report(worlds, scale, last.subject + load, command, tunings)
    write_text_atomic(folder / "scaling.md", report.markdown())
    write_text_atomic(folder / "scaling.csv", report.csv())
    plot(report, folder / "scaling.png")
    console.say("")
    console.table(report.rows(), COLUMNS)
    for line in report.remarks():
        console.say(f"\n{line}")
    console.say("")
    console.table(report.part_rows(), PART_COLUMNS)
    for line in report.advice():
        console.say(f"\n{line}")
    console.say(f"\nResults in {console.painted(str(folder), 'bold')}")
