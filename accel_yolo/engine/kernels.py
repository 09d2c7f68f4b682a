"""How a step is carried out: by which kernels, launched how, in which memory; never what it computes."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

import torch

from accel_yolo import console
from accel_yolo.config.schema import TrainConfig
from accel_yolo.data.render_torch import PLAIN, Programs
from accel_yolo.engine.world import World
from accel_yolo.errors import ConfigError
from accel_yolo.models.detector import Detector

# Parameters of mallopt(3) in glibc.
_TRIM_THRESHOLD, _MOST_MAPPINGS = -1, -4


def choose_kernels(detector: Detector, config: TrainConfig, images: int, world: World) -> None:
    """Prepare a detector in training mode for fast steps, in place; before its optimizer and model are prepared.

    Args:
        detector: on the device, in channels-last memory, with the BatchNorm layers it will be trained with.
        config: the run.
        images: images of one forward pass of this process.
        world: the device.

    Raises:
        ConfigError: --cuda-graphs without a GPU.
    """
    if world.device.type == "cpu":
        keep_freed_memory()
    if world.device.type != "cuda":
        _without_gpu(config, world.device.type)
        return
    # Tries all algorithms at each new size: worth it only if the size stays.
    torch.backends.cudnn.benchmark = not (config.rect or config.multi_scale)
    if config.compile:
        compile_layers(detector)
    if config.cuda_graphs:
        side = config.imgsz * (2 if config.quad else 1)
        _record(detector, torch.Size((images, 3, side, side)), world)


def _without_gpu(config: TrainConfig, kind: str) -> None:
    """Say what the flags for GPUs do on a device of another kind."""
    # A run that was started on a GPU may go on elsewhere.
    if config.cuda_graphs and not config.resume:
        raise ConfigError("--cuda-graphs needs a CUDA GPU", "--cuda-graphs", kind, "leave it out")
    for flag, on in (("--compile", config.compile), ("--cuda-graphs", config.cuda_graphs)):
        if on:
            console.warn(f"{flag} gains nothing on {kind}; going on without it")


def compile_layers(detector: Detector, backend: str = "inductor") -> None:
    """Compile each layer that computes something, in place; names of the state dict and copies made before stay.

    Layer by layer, not as a whole: processes exchange the gradients of one layer while the one before still computes.
    """
    from torch import _dynamo

    layers = [layer for layer in detector.model[:-1] if next(layer.parameters(), None) is not None]
    # All layers are called through one function of torch, so they count as variants of it.
    limit = _dynamo.config.recompile_limit
    _dynamo.config.recompile_limit = max(limit, 4 * len(layers))
    for layer in layers:
        layer.compile(dynamic=False, backend=backend)


def pixel_programs(config: TrainConfig, world: World) -> Programs:
    """Return the functions that work on pixels on a GPU, compiled if the run asks for it."""
    return Programs.compiled() if config.compile and world.device.type == "cuda" else PLAIN


@contextlib.contextmanager
def sizes_vary() -> Iterator[None]:
    """Hold for work on images of many sizes, such as validation: no search for the best algorithm of each."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def keep_freed_memory() -> bool:
    """Keep memory that tensors on the CPU have freed for the next ones; return whether the C library can do that.

    By default glibc gives blocks of 32 MB and more back at once, and the kernel fills every new one with zeros: in a
    step at 640 px that is a sixth of all processor time. The process keeps what it held at its peak.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # absent in other C libraries
    return mallopt is not None and bool(mallopt(_MOST_MAPPINGS, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))


def _record(detector: Detector, shape: torch.Size, world: World) -> None:
    """Replace the detector's forward and backward pass by recordings (CUDA graphs) for images of one shape.

    The loss stays outside: its tables change in size.
    """
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(world.precision)
    dtype = half or detector.anchors.dtype
    images = torch.zeros(shape, dtype=dtype, device=world.device).contiguous(memory_format=torch.channels_last)
    # Recording runs the network a few times, which must leave no trace in the running statistics.
    before = [buffer.clone() for buffer in detector.buffers()]
    detector.train()
    # Weights converted once and kept would be those of the recording for ever.
    with torch.autocast("cuda", dtype=half, enabled=half is not None, cache_enabled=False):
        torch.cuda.make_graphed_callables(detector, (images,))
    with torch.no_grad():
        for buffer, value in zip(detector.buffers(), before, strict=True):
            buffer.copy_(value)
