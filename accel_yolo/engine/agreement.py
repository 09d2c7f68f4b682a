"""What a foreign launcher decided and what the user's flags say: two answers to one question are an error."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from accel_yolo.config.accelerate_file import AccelerateFile, read_accelerate_file
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.config.launching import device_indices
from accel_yolo.config.settings import flag_of
from accel_yolo.engine.launched import OURS, Launched
from accel_yolo.errors import ConfigError

_NAMES = {"accelerate": "accelerate launch", "slurm": "srun", "mpi": "mpirun", "environment": "the environment"}
_ANCESTORS = 3  # a shell or a wrapper may stand between a launcher and its processes


def require_agreement(launched: Launched, launch: LaunchConfig, device: str, typed: Collection[str]) -> None:
    """Check that the flags do not ask a foreign launcher for other processes than it has started, nor for restarts.

    Raises:
        ConfigError: they do.
    """
    require_device_count(launched, device)
    if launched.launcher in ("", OURS):
        return
    found = {
        "processes": launched.local_size,
        "machines": launched.machines,
        "machine_rank": launched.machine,
        "main_process_ip": os.environ.get("MASTER_ADDR", ""),
        "main_process_port": int(os.environ.get("MASTER_PORT", "0")),
    }
    name = launcher_name(launched)
    for setting, value in found.items():
        if setting in typed and getattr(launch, setting) != value:
            remedy = f"{name} says {value or 'nothing'}: leave the flag out, or start without {name}"
            raise ConfigError("two launchers at once", flag_of(setting), getattr(launch, setting), remedy)
    if launch.max_restarts:
        remedy = f"leave the flag out: {name} has started this process and would have to do it again"
        raise ConfigError(
            "only our own launcher starts a run again", flag_of("max_restarts"), launch.max_restarts, remedy
        )
    if launch.config_file:
        wanted, theirs = read_accelerate_file(launch.config_file), accelerate_file(launched)
        if theirs is None or theirs.path.resolve() != wanted.path.resolve():
            remedy = f"{name} has already started this process: leave the flag out, or start without {name}"
            raise ConfigError("two launchers at once", flag_of("config_file"), launch.config_file, remedy)


def require_device_count(launched: Launched, device: str) -> None:
    """Check that `--device` names as many GPUs as there are processes on this machine. Raises ConfigError."""
    count = len(device_indices(device))
    if launched.launcher in ("", OURS) or count in (0, launched.local_size):
        return
    devices = "1 device" if count == 1 else f"{count} devices"
    here = "1 process" if launched.local_size == 1 else f"{launched.local_size} processes"
    what = f"--device names {devices} but {launcher_name(launched)} started {here} on this machine"
    raise ConfigError(what, "--device", device, "make the two numbers equal, or leave the flag out")


def launcher_name(launched: Launched) -> str:
    """Return the launcher of this process in words."""
    return _NAMES.get(launched.launcher, launched.launcher)


def accelerate_file(launched: Launched) -> AccelerateFile | None:
    """Return the Accelerate YAML that `accelerate launch` was started with, None when it cannot be known.

    Accelerate does not tell its processes `use_cpu`; the command line of the launcher says which file holds it.
    """
    if launched.launcher != "accelerate":
        return None
    words = _words_of_accelerate()
    named = _value_of(words, ("--config_file", "--config-file"))
    if words and not named:
        default = _default_file()
        named = str(default) if default.is_file() else ""
    if not named:
        return None
    # What we refuse to read, Accelerate may have understood in its own way.
    with contextlib.suppress(ConfigError):
        return read_accelerate_file(named)
    return None


def says_cpu_only(launched: Launched) -> bool:
    """Return whether `accelerate launch` was told to use the CPU."""
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1", "yes"):
        return True
    file = accelerate_file(launched)
    return file is not None and file.use_cpu


def _words_of_accelerate() -> list[str]:
    import psutil

    with contextlib.suppress(psutil.Error):
        for process in psutil.Process().parents()[:_ANCESTORS]:
            words = process.cmdline()
            if any("accelerate" in word for word in words[:4]) and "launch" in " ".join(words[:4]):
                return words
    return []


def _value_of(words: Sequence[str], flags: tuple[str, ...]) -> str:
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in flags:
            return value if equals else (words[place + 1] if place + 1 < len(words) else "")
    return ""


def _default_file() -> Path:
    """Return where Accelerate keeps the file it reads when none is named."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", str(Path(cache) / "huggingface"))
    return Path(home).expanduser() / "accelerate" / "default_config.yaml"
