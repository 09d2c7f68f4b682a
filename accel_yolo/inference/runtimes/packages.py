"""Packages that only some users install: imported when they are needed, or named in one line."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

from accel_yolo.errors import EnvironmentFault

_SILENT = {"onnxruntime": {"ORT_DISABLE_TELEMETRY": "1"}}
"""Package -> variables that keep it from telling its makers of its use; who has set them keeps what was set."""

_NOT_ASKED = {"openvino": "openvino_telemetry"}
"""Package -> the part that tells its makers of its use, and without which it works as well."""


def optional(module: str, purpose: str, extra: str | None = "export") -> ModuleType:
    """Return a module of an optional package.

    Args:
        module: dotted name of the module.
        purpose: what needs it, such as "running ONNX files"; for the message.
        extra: the extra of ours that installs it; None where it is installed by its own name.

    Raises:
        EnvironmentFault: it is not installed, or cannot be loaded.
    """
    package = module.partition(".")[0]
    remedy = f"pip install 'accel-yolo[{extra}]'" if extra else f"pip install {package}"
    for name, value in _SILENT.get(package, {}).items():
        os.environ.setdefault(name, value)
    if package in _NOT_ASKED:
        sys.modules.setdefault(_NOT_ASKED[package], None)  # pyright: ignore[reportArgumentType] - importing it fails
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or package).partition(".")[0]
        raise EnvironmentFault(f"{purpose} needs a package that is missing", value=missing, remedy=remedy) from error
    except ImportError as error:
        what = str(error).split("\n")[0][:200]
        raise EnvironmentFault(
            f"{purpose} needs {package}, which cannot be loaded", value=what, remedy=remedy
        ) from error
