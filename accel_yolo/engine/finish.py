"""First and last words of a training run."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from accel_yolo import console, waypoints
from accel_yolo.config.schema import TrainConfig
from accel_yolo.data.eval_loader import EvalLoader
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.engine.batches import Batches
from accel_yolo.engine.batchnorm import as_range, describe_batchnorm
from accel_yolo.engine.build import Training
from accel_yolo.engine.evaluate import Evaluation, evaluate
from accel_yolo.engine.findings import Findings, print_sizes, shared_metrics
from accel_yolo.engine.gallery import Gallery
from accel_yolo.engine.optim import optimizer_tensors
from accel_yolo.engine.reporting import print_speed, print_table
from accel_yolo.engine.run_folder import RunFolder
from accel_yolo.engine.sessions import session
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.world import World
from accel_yolo.models.weights import detector_from_weights
from accel_yolo.reports.html.report import REPORT
from accel_yolo.shell import from_here, program
from accel_yolo.version import __version__

SMALL_BATCH = 16
"""BatchNorm over fewer images than this on a process is worth a remark."""


def introduce(run: RunFolder, training: Training, batches: Batches, state: TrainState, world: World) -> None:
    """Say and record what is about to run and on what."""
    config = training.config
    parameters = sum(parameter.numel() for parameter in training.detector.parameters())
    console.say(f"accel_yolo {__version__}, torch {torch.__version__}, Python {platform.python_version()}")
    console.say(f"{world.describe()}; {parameters:,} parameters, {training.detector.nc} classes")
    shares = describe_shares(config, batches, world)
    for line in shares:
        console.say(line)
    run.add_session({**session(state.step, shares, world), "changed": run.changes}, state)
    console.detail(f"{time.time() - psutil.Process().create_time():.1f} s from the start of the process to here")
    steps = batches.schedule.steps_per_epoch
    console.say(f"{config.epochs} epochs of {steps} steps of {config.batch} images at {config.imgsz} px")
    if state.step:
        console.say(f"Continuing after {state.step} steps, epoch {state.epoch + 1}")


def describe_shares(config: TrainConfig, batches: Batches, world: World) -> list[str]:
    """Return how the batch is shared and what BatchNorm sees, on all processes."""
    images = config.batch // config.unit
    local = [sum(map(len, batches.pieces)), *(len(piece) for piece in batches.pieces)]
    spread = [[int(value) for value in text.split()] for text in world.gather_text(" ".join(map(str, local)))]
    totals, pieces = [row[0] for row in spread], [size for row in spread for size in row[1:]]
    share = f" over {world.size} processes, {as_range(min(totals), max(totals))} each" if world.size > 1 else ""
    forward = f", {as_range(min(pieces), max(pieces))} per forward pass" if max(pieces) < max(totals) else ""
    update = config.batch * batches.schedule.accumulation(batches.schedule.total_steps)
    sees = describe_batchnorm(
        sync=config.sync_bn,
        group=config.bn_group // config.unit,
        seen=(min(pieces), max(pieces)),
        world_size=world.size,
    )
    if min(pieces) < min(SMALL_BATCH, images) and not config.sync_bn and not config.bn_group:
        remedy = "--sync-bn makes it see all processes" if world.size > 1 else "a larger --micro-batch shows it more"
        console.note(f"{sees}: fewer than {SMALL_BATCH} can cost accuracy; {remedy}")
    shown = f"{config.batch} samples in {images} images of twice the size" if config.quad else f"{images} images"
    return [f"Batch of {shown}{share}{forward}; {update} {'samples' if config.quad else 'images'} per update", sees]


def state_digest(training: Training, metrics: dict[str, Any]) -> str:
    """Return one SHA-256 over weights, running statistics, average, optimizer and metrics of a run.

    Equal digests mean equal bits: with `--bit-exact` it does not depend on the processes or on interruptions.
    """
    digest = hashlib.sha256()
    groups = {
        "model": training.detector.state_dict(),
        "ema": training.ema.detector.state_dict(),
        "optimizer": optimizer_tensors(training.detector, training.optimizer),
    }
    for group, tensors in groups.items():
        for name, value in sorted(tensors.items()):
            digest.update(f"{group} {name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    numbers = {key: value for key, value in metrics.items() if key != "speed_ms"}
    digest.update(json.dumps(numbers, sort_keys=True).encode())
    return digest.hexdigest()


def evaluate_best(run: RunFolder, training: Training, loader: EvalLoader, world: World) -> Evaluation:
    """Return the evaluation of the best weights of the run, for a process that did not make it: it was resumed."""
    detector = detector_from_weights(run.read_weights("best")).to(world.device)
    return evaluate(detector, loader, training.evaluation, world)


def conclude(
    state: TrainState,
    run: RunFolder,
    training: Training,
    index: SplitIndex,
    result: Evaluation,
    gallery: Gallery,
    world: World,
) -> TrainState:
    """Write what the evaluation of the best weights found, say what to do next, and return the state."""
    waypoints.reach("concluding", state.step)
    if state.stopped:
        console.say(f"Stopped early: no improvement since epoch {state.best_epoch + 1}")
    if state.skips:
        console.warn(f"{state.skips} updates were skipped because their gradient was not finite")
    gallery.conclude(result)
    best = shlex.quote(str(run.weights / "best.safetensors"))
    found = Findings(result, index, training.detector.names)
    metrics = shared_metrics(found, world)
    if training.config.bit_exact:
        metrics["state_sha256"] = state_digest(training, metrics)
    run.write_json("metrics.json", metrics)
    run.add_end(state, metrics)
    kept_best = not training.config.nosave
    which = f"Best weights, epoch {state.best_epoch + 1}" if kept_best else f"Weights of epoch {state.epoch} (--nosave)"
    console.say(f"\n{which}:")
    print_table(metrics, per_class=training.config.verbose or len(training.detector.names) < 50)
    print_sizes(metrics)
    print_speed(metrics)
    run.write_findings(found, metrics, pictures=not training.config.noplots)
    gallery.close()
    run.write_report()
    run.hand_over()
    if training.config.bit_exact:
        console.say(f"State after {state.updates} updates: sha256 {metrics['state_sha256']}")
    console.say(f"\nResults in {console.painted(str(run.path), 'bold')}, on one page in its {REPORT}. Next:")
    start, size = program(), f"--imgsz {training.config.imgsz}"
    single = " --single-cls" if training.config.single_cls else ""
    single += f" --classes {shlex.join(training.config.classes)}" if training.config.classes else ""
    console.say(f"  {start} val --weights {best} --data {shlex.join(training.config.data)} {size}{single}")
    images = shlex.quote(str(from_here(Path(index.paths[0]).parent)))
    console.say(f"  {start} predict --weights {best} --source {images} {size}")
    console.say(f"  {start} export --weights {best} --include onnx {size}")
    return state
