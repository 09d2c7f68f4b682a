"""A few steps under the profiler: what they cost, kernel launches, and how often the host waited for the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx", "cudaGraphLaunch")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaStreamWaitValue")


@dataclass(frozen=True)
class Trace:
    """What the profiler saw, per step.

    Attributes:
        step_s: seconds on the clock, without the profiler.
        busy_s: seconds of kernels on a GPU; of operators on a CPU.
        launches: kernels (or graphs) that the host started; 0 on a CPU.
        waits: times the host waited for the device; 0 on a CPU.
        costs: (name, seconds, calls) of the largest kernels or operators, the largest first.
    """

    step_s: float
    busy_s: float
    launches: float
    waits: float
    costs: tuple[tuple[str, float, float], ...]

    @property
    def kernel_share(self) -> float:
        """Share of a step that kernels fill, 0..1; they may overlap."""
        return min(self.busy_s / self.step_s, 1.0)


def traced(step: Callable[[], object], device: torch.device, steps: int = 3, largest: int = 10) -> Trace:
    """Return what `steps` steps cost; they have been taken before, so nothing happens for the first time."""
    on_gpu = device.type == "cuda"
    _wait(on_gpu)
    started = time.perf_counter()
    for _ in range(steps):
        step()
    _wait(on_gpu)
    step_s = (time.perf_counter() - started) / steps
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as seen:
        for _ in range(steps):
            step()
        _wait(on_gpu)
    events: list[Any] = list(seen.key_averages())
    # On a GPU the kernels themselves are counted, not the operators that started them.
    costs = [
        (event.key, (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6 / steps,
         event.count / steps)
        for event in events
        if event.device_type.name == ("CUDA" if on_gpu else "CPU")
    ]  # fmt: skip
    costs.sort(key=lambda cost: -cost[1])
    counts = {event.key: event.count / steps for event in events}
    return Trace(
        step_s=step_s,
        busy_s=sum(seconds for _, seconds, _ in costs),
        launches=sum(counts.get(name, 0) for name in LAUNCHES),
        waits=sum(counts.get(name, 0) for name in WAITS) - (1 / steps if on_gpu else 0),  # the last wait is ours
        costs=tuple(costs[:largest]),
    )


def _wait(on_gpu: bool) -> None:
    if on_gpu:
        torch.cuda.synchronize()
