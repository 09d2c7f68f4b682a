"""The command `accel-yolo env`: what a bug report needs to say about a machine and its installation."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator

from accel_yolo import console
from accel_yolo.config.machine_schema import EnvConfig
from accel_yolo.engine.environment import Facts, environment

_IMPORTED = ("torch", "torchvision", "accelerate", "numpy", "cv2", "PIL", "safetensors", "matplotlib", "hotcoco")
"""What every command may need: each is imported once to see whether that works."""


def env(config: EnvConfig) -> None:
    """Print facts about this machine and installation, as text to be pasted into a report or as JSON."""
    facts: Facts = {**environment(), "imports": ", ".join(_faults()) or "all work"}
    if config.json:
        console.say(json.dumps(facts, indent=1))
        return
    # A fence, so that an issue tracker shows it as it is.
    console.say("```text")
    console.table([(name, value if isinstance(value, str) else f"{value:g}") for name, value in facts.items()])
    console.say("```")
    console.note("copy these lines, the fences too, into the report, with the command and what it printed")


def _faults() -> Iterator[str]:
    """Yield what cannot be imported, and why."""
    for name in _IMPORTED:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a broken installation raises is what the report is about
            yield f"{name} fails ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
