"""What advice on a run is made from, measured in the world that runs it."""

from __future__ import annotations

import time

import cv2
import numpy as np
import torch

from accel_yolo.config.schema import TrainConfig
from accel_yolo.data.room import usable_cores
from accel_yolo.engine.memory import Memory
from accel_yolo.engine.step_trace import traced
from accel_yolo.engine.stepping import Stepper
from accel_yolo.reports.advice import Tuning

PAIRS = 3
"""Steps of each precision, in turns."""

PLAIN_BATCHES = 2
MOST_BATCHES = 8
"""Batches over which the time of a sample is taken: with partner groups it takes a group's."""


def tuning_of(stepper: Stepper, val_s: float, val_images: int) -> Tuning:
    """Return what was measured; all processes take part.

    Args:
        stepper: has measured its times.
        val_s: seconds of a validation of the images of `stepper.val_loader`.
        val_images: images of the whole split.
    """
    config, world = stepper.training.config, stepper.world
    on_gpu = world.device.type == "cuda"
    memory = Memory.of(world.device).tensors_bytes if on_gpu else 0
    share = traced(lambda: stepper.step(stepper.ready, exchange=True), world.device).kernel_share if on_gpu else 0.0
    return Tuning(
        parts=stepper.parts(),
        steps=-(-stepper.images // config.batch),
        val_s=val_s * val_images / len(stepper.val_loader.index),
        batch_per_process=len(stepper.ready.parts[0].images),
        processes=world.local_size,
        workers=config.workers,
        cores=usable_cores(),
        device=world.device.type,
        sample_s=_sample_s(stepper),
        settings=_in_use(config),
        bf16_speed_up=_bf16_speed_up(stepper),
        kernel_share=share,
        used_bytes=memory,
        device_bytes=torch.cuda.get_device_properties(world.device).total_memory if on_gpu else 0,
    )


def _in_use(config: TrainConfig) -> tuple[str, ...]:
    names = ("cache", "decode_once", "compile", "cuda_graphs")
    used = [name for name in names if getattr(config, name, "")]
    return (*used, "device") if config.cache == "device" else tuple(used)


def _sample_s(stepper: Stepper) -> float:
    """Return the processor time of a training sample in one worker, mean over processes; 0.0: a GPU makes them."""
    if stepper.training.config.cache == "device":
        return 0.0
    loader = stepper.loader_here()
    wanted = MOST_BATCHES if stepper.training.config.decode_once else PLAIN_BATCHES
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)  # as in a worker
    started, images = time.thread_time(), 0
    for _, batch in zip(range(wanted), loader.epoch(0), strict=False):
        images += len(batch.images)
    mine = (time.thread_time() - started) / images
    cv2.setNumThreads(threads)
    return float(stepper.world.gather_rows(np.array([[mine]])).mean())


def _bf16_speed_up(stepper: Stepper) -> float:
    """Return how many times as fast a step is in bfloat16; 0.0 where that is no choice or the processor lacks it."""
    world = stepper.world
    if world.device.type != "cpu" or world.precision != "fp32" or not _has_bf16():
        return 0.0
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for number in range(PAIRS + 1):
        for half in (False, True) if number % 2 else (True, False):
            started = stepper.now_together()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                stepper.step(stepper.ready, exchange=True)
            seconds[half].append(stepper.now() - started)
    # The first of each made kernels; the shortest was disturbed least by whatever else runs here.
    mine = min(seconds[False][1:]) / min(seconds[True][1:])
    return float(world.gather_rows(np.array([[mine]])).mean())


def _has_bf16() -> bool:
    """Return whether the processor computes in bfloat16; elsewhere it is emulated and slow."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch has no public ones
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)
