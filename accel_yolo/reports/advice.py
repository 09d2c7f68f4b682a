"""What to change about a run, from what was measured of it. Pure; a line says nothing that was not measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from accel_yolo.reports.step_parts import StepParts

MOST_LINES = 3
MUCH_WAITING = 0.05
MUCH_VALIDATION = 0.25
FEW_KERNELS = 0.75
"""Share of a step that kernels fill, under which the GPU waits for the host to start them."""
WORTHWHILE = 1.05
"""A speed-up under which a change of precision is not worth a line."""
MUCH_ROOM = 0.5


@dataclass(frozen=True)
class Tuning:
    """What advice is made from, of one number of processes.

    Attributes:
        parts: where a step goes.
        steps: steps of an epoch.
        val_s: seconds of a validation of the whole split.
        batch_per_process: images of a step on each process.
        processes: processes on this machine.
        workers: data workers of each.
        cores: of this machine.
        device: "cpu", "cuda" or "mps".
        sample_s: processor time of one training sample in a worker; 0 when not measured.
        settings: names of the flags that are in use already: "cache", "decode_once", "compile", "cuda_graphs".
        bf16_speed_up: time of a step over that of the same in bfloat16; 0 when not measured.
        kernel_share: share of a step that kernels fill; 0 when not measured.
        used_bytes, device_bytes: memory that tensors take at most, and that of the device; 0 when not known.
    """

    parts: StepParts
    steps: int
    val_s: float
    batch_per_process: int
    processes: int
    workers: int
    cores: int
    device: str
    sample_s: float = 0.0
    settings: tuple[str, ...] = ()
    bf16_speed_up: float = 0.0
    kernel_share: float = 0.0
    used_bytes: int = 0
    device_bytes: int = 0

    @property
    def val_share(self) -> float:
        """Share of the validation in an epoch, 0..1."""
        epoch_s = self.steps * self.parts.total_s + self.val_s
        return self.val_s / epoch_s if epoch_s else 0.0

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Tuning:
        """Return what `to_json` described."""
        return cls(**{**data, "parts": StepParts(**data["parts"]), "settings": tuple(data["settings"])})

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**self.__dict__, "parts": self.parts.to_json()}


@dataclass(frozen=True, order=True)
class _Line:
    gain: float
    text: str = field(compare=False)


def advice(run: Tuning) -> list[str]:
    """Return one to three lines: what to change, what saves most first; or that nothing stands out."""
    rules = (_data_line, _precision_line, _launch_line, _validation_line, _memory_line)
    lines = sorted((line for line in (rule(run) for rule in rules) if line is not None), reverse=True)
    if not lines:
        parts = run.parts
        computing = parts.share(parts.forward_s + parts.backward_s + parts.update_s)
        return [f"Nothing stands out: {computing:.0%} of a step is computing."]
    return [line.text for line in lines[:MOST_LINES]]


def _data_line(run: Tuning) -> _Line | None:
    parts = run.parts
    share = parts.share(parts.data_s)
    if share <= MUCH_WAITING:
        return None
    start = f"{share:.0%} of a step waits for data"
    wanted = _workers_wanted(run)
    if wanted > run.workers and wanted * run.processes <= run.cores and run.device != "cpu":
        made = (
            f"a sample takes a worker {run.sample_s * 1e3:.1f} ms, a step without waiting {_work_s(run) * 1e3:.0f} ms"
        )
        return _Line(share, f"{start}: --workers {wanted} ({made}).")
    made = f" (a sample takes {run.sample_s * 1e3:.1f} ms of a core)" if run.sample_s else ""
    if run.workers == 0:
        return _Line(share, f"{start}, because it is made between the steps: --workers 1 or more.")
    if "cache" not in run.settings:
        instead = "" if "decode_once" in run.settings else "; --decode-once, once an epoch, without a file"
        return _Line(share, f"{start}{made}: --cache decodes and resizes each image only once{instead}.")
    if run.device == "cuda" and "device" not in run.settings:
        return _Line(share, f"{start}{made}: --cache device makes the batches on the GPU, if the images fit there.")
    return _Line(share, f"{start}{made}: this machine has too few cores for this model, or its disk is slow.")


def _workers_wanted(run: Tuning) -> int:
    """Return the workers of a process that make a batch in the time of a step without waiting; 0: not known."""
    work_s = _work_s(run)
    return math.ceil(run.batch_per_process * run.sample_s / work_s) if run.sample_s and work_s > 0 else 0


def _work_s(run: Tuning) -> float:
    return run.parts.total_s - run.parts.data_s


def _precision_line(run: Tuning) -> _Line | None:
    if run.bf16_speed_up < WORTHWHILE:
        return None
    start = f"A step is {run.bf16_speed_up:.2f} times as fast with --precision bf16"
    return _Line(1 - 1 / run.bf16_speed_up, f"{start} (measured here); results differ in rounding.")


def _launch_line(run: Tuning) -> _Line | None:
    if not 0 < run.kernel_share < FEW_KERNELS:
        return None
    ways = [
        way for way, name in (("--compile", "compile"), ("--cuda-graphs", "cuda_graphs")) if name not in run.settings
    ]
    remedy = " or ".join(["a larger --batch", *ways])
    text = f"Kernels fill {run.kernel_share:.0%} of a step; the GPU waits for the host to start them: {remedy}."
    return _Line(1 - run.kernel_share, text)


def _validation_line(run: Tuning) -> _Line | None:
    if run.val_share <= MUCH_VALIDATION:
        return None
    text = f"Validation is {run.val_share:.0%} of an epoch: --noval validates after the last epoch only."
    return _Line(run.val_share, text)


def _memory_line(run: Tuning) -> _Line | None:
    if not run.used_bytes or not run.device_bytes or run.used_bytes > MUCH_ROOM * run.device_bytes:
        return None
    amounts = f"{run.used_bytes / 1e9:.1f} of {run.device_bytes / 1e9:.1f} GB"
    return _Line(0.0, f"Tensors take at most {amounts} of the device: a larger --batch fits.")
