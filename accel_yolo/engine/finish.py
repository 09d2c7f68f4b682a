"""First and last words of a training run."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

import torch

from accel_yolo import console
from accel_yolo.config.schema import TrainConfig
from accel_yolo.data.eval_loader import EvalLoader
from accel_yolo.engine.batches import Batches
from accel_yolo.engine.batchnorm import describe_batchnorm
from accel_yolo.engine.build import Training
from accel_yolo.engine.evaluate import evaluate
from accel_yolo.engine.reporting import metrics_json, print_speed, print_table
from accel_yolo.engine.run_folder import RunFolder
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.world import World
from accel_yolo.models.weights import detector_from_weights, load_weights
from accel_yolo.version import __version__


def introduce(config: TrainConfig, training: Training, batches: Batches, state: TrainState, world: World) -> None:
    """Say what is about to run and on what."""
    parameters = sum(parameter.numel() for parameter in training.detector.parameters())
    console.say(f"accel_yolo {__version__}, torch {torch.__version__}, Python {platform.python_version()}")
    console.say(f"{world.describe()}; {parameters:,} parameters, {training.detector.nc} classes")
    console.say(
        describe_batchnorm(sync=config.sync_bn, group=config.bn_group, batch=config.batch, world_size=world.size)
    )
    steps = batches.schedule.steps_per_epoch
    console.say(f"{config.epochs} epochs of {steps} steps of {config.batch} images at {config.imgsz} px")
    if state.step:
        console.say(f"Continuing after {state.step} steps, epoch {state.epoch + 1}")


def conclude(state: TrainState, run: RunFolder, training: Training, loader: EvalLoader, world: World) -> TrainState:
    """Validate the best weights once more, write `metrics.json`, say what to do next, and return the state."""
    if state.stopped:
        console.say(f"Stopped early: no improvement since epoch {state.best_epoch + 1}")
    if state.skips:
        console.warn(f"{state.skips} updates were skipped because their gradient was not finite")
    world.barrier()
    best = run.weights / "best.safetensors"
    weights = load_weights(best)
    detector = detector_from_weights(weights).to(world.device)
    result = evaluate(detector, loader, training.evaluation, world)
    metrics = metrics_json(result, loader.index, detector.names)
    run.write_json("metrics.json", metrics)
    kept_best = not training.config.nosave
    which = f"Best weights, epoch {state.best_epoch + 1}" if kept_best else f"Weights of epoch {state.epoch} (--nosave)"
    console.say(f"\n{which}:")
    print_table(metrics, per_class=training.config.verbose or len(detector.names) < 50)
    print_speed(metrics)
    console.say(f"\nResults in {console.painted(str(run.path), 'bold')}. Next:")
    program, size = _program(), f"--imgsz {training.config.imgsz}"
    single = " --single-cls" if training.config.single_cls else ""
    console.say(f"  {program} val --weights {best} --data {training.config.data} {size}{single}")
    images = _from_here(Path(loader.index.paths[0]).parent)
    console.say(f"  {program} predict --weights {best} --source {images} {size}")
    return state


def _program() -> str:
    """Return what starts this program from the user's shell: `accel-yolo`, or the interpreter if that is not there."""
    return "accel-yolo" if shutil.which("accel-yolo") else f"{_from_here(Path(sys.executable))} -m accel_yolo"


def _from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
