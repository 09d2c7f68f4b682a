"""Commands that start several processes in the form in which a machine without GPUs can run them."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = {
    "python": [sys.executable],
    "accel-yolo": [sys.executable, "-m", "accel_yolo"],
    "torchrun": [sys.executable, "-m", "torch.distributed.run"],
    "accelerate": [sys.executable, "-m", "accelerate.commands.launch"],
}
FILES = {"1gpu": "cpu", "2gpu": "2cpu", "2cpu": "2cpu", "2x8gpu": "2x1cpu"}
"""Accelerate files -> those that stand for them."""

SMALLER = {"--batch": {"64": "8", "128": "8", "16": "8"}, "--micro-batch": {"8": "4"}, "--bn-group": {"16": "4"}}
SMALL_TRAINING = ["--epochs", "1", "--imgsz", "64", "--workers", "0", "--noautoanchor", "--noplots"]
SMALL_PROFILE = {"--processes": "1,2", "--cfg": "yolov5n", "--batch-per-process": "2"}


@dataclass(frozen=True)
class Place:
    """What stands for the user's data and addresses."""

    data: Path
    address: str
    port: int


def cpu_form(command: str, place: Place) -> list[str]:
    """Return the words that run a command of the documentation on CPU processes, on little data, for an epoch."""
    words = shlex.split(command)
    launcher = words[0]
    # Accelerate and torchrun have flags of their own before the script; a launcher is also `-m torch.distributed.run`.
    is_foreign = launcher in ("accelerate", "torchrun") or "torch.distributed.run" in words
    if launcher == "accelerate":
        words.remove("launch")
    words = [*PROGRAMS[launcher], *words[1:]]
    words = [str(ROOT / word) if word in ("train.py", "val.py") else _file(word) for word in words]
    words = _replaced(words, "--data", str(place.data))
    for flag in ("--main-process-ip", "--main_process_ip", "--master_addr"):
        words = _replaced(words, flag, place.address)
    for flag in ("--main-process-port", "--main_process_port", "--master_port"):
        words = _replaced(words, flag, str(place.port))
    words = _on_cpu(words, is_foreign)
    if "profile" in words:
        for flag, value in SMALL_PROFILE.items():
            words = _replaced(words, flag, value)
        words = _without(_without(words, "--imgsz"), "--steps")
        return [*words, "--imgsz", "64", "--steps", "2", "--workers", "0"]
    if str(ROOT / "val.py") in words:
        return [*words, "--imgsz", "64", "--workers", "0"]
    if "check" in words:
        return _without(words, "--weights")
    if "--resume" in words:
        return [*words, "--epochs", "2"]
    for flag, smaller in SMALLER.items():
        if flag in words:
            value = words[words.index(flag) + 1]
            words = _replaced(words, flag, smaller.get(value, value))
    words = _without(_without(_without(words, "--weights"), "--cfg"), "--epochs")
    words = words if "--batch" in words else [*words, "--batch", "8"]
    return [*words, "--weights", "", "--cfg", "yolov5n.yaml", *SMALL_TRAINING]


def _file(word: str) -> str:
    """Return a file of Accelerate for CPUs, in the same spelling."""
    found = re.fullmatch(r"(accelerate_configs/)?(\w+)\.yaml", word)
    if not found or found[2] not in FILES:
        return word
    name = f"{FILES[found[2]]}.yaml"
    return str(ROOT / "accelerate_configs" / name) if found[1] else name


def _on_cpu(words: list[str], is_foreign: bool) -> list[str]:
    if "--device" not in words:
        return [*words, "--device", "cpu"]
    devices = words[words.index("--device") + 1].split(",")
    words = _replaced(words, "--device", "cpu")
    starts = len(devices) > 1 and not is_foreign and "profile" not in words
    return [*words, "--processes", str(len(devices))] if starts else words


def _replaced(words: list[str], flag: str, value: str) -> list[str]:
    if flag not in words:
        return words
    place = words.index(flag) + 1
    return [*words[:place], value, *words[place + 1 :]]


def _without(words: list[str], flag: str) -> list[str]:
    if flag not in words:
        return words
    place = words.index(flag)
    return [*words[:place], *words[place + 2 :]]
