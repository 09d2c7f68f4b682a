"""The flags of the commands about this installation: `env` and `completion`."""

from __future__ import annotations

from accel_yolo.config.flag import Flag, spoken, switch

ENV = (
    switch("--json", "print one JSON object, for programs", "output"),
    *spoken(),
)

COMPLETION = (
    Flag(("shell",), "the shell that is to complete commands: bash, zsh, fish or powershell", "shell", "shell"),
    *spoken(),
)
