"""TorchScript files: programs for torch's own interpreter."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from accel_yolo.errors import CheckpointError
from accel_yolo.inference.runtimes.description import BOX_COLUMNS, KEY, described, fitted
from accel_yolo.inference.runtimes.exported import ExportedNetwork
from accel_yolo.inference.runtimes.torchscript_program import require_harmless

CONFIG = "config.txt"
"""The extra file of YOLOv5's exports: a JSON object with shape, stride and names."""


class TorchScriptNetwork(ExportedNetwork):
    """A detector in a TorchScript file.

    Raises:
        CheckpointError: damaged, not a detector of this family, or a program with other operations.
    """

    def __init__(self, path: Path, device: torch.device, precision: str = "auto") -> None:
        require_harmless(path)
        extra = {CONFIG: ""}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch advises against TorchScript, on each call
                self._program = torch.jit.load(str(path), map_location=device, _extra_files=extra).eval()
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                "cannot read TorchScript file", str(path), _last_line(error), "export it again"
            ) from error
        config = torchscript_config(extra[CONFIG], str(path))
        entries = torchscript_entries(config)
        description = described(entries, str(path))
        shape = [-1, 3, -1, -1] if KEY in entries else config.get("shape", [])
        shape = shape if isinstance(shape, list) else [shape]
        columns = BOX_COLUMNS + len(description.names) if description.names else "unknown"
        description = fitted(description, shape, [-1, -1, columns], str(path), half=_is_half(self._program))
        super().__init__(path, description, device, precision)

    def run(self, images: Tensor) -> Tensor:
        """Return the first output, float32."""
        try:
            # Its optimiser starts anew for each input shape, at the second call, and saves next to nothing.
            with torch.jit.optimized_execution(False):  # pyright: ignore[reportPrivateImportUsage]
                output = self._program(images)
        except RuntimeError as error:
            raise CheckpointError("torch cannot run", str(self.path), _last_line(error), "export it again") from error
        while isinstance(output, (tuple, list)) and output:
            output = output[0]
        if not isinstance(output, Tensor):
            raise CheckpointError("not a detector of this family", str(self.path), type(output).__name__)
        return output.float()


def torchscript_config(text: str | bytes, where: str) -> dict[str, Any]:
    """Return what the extra file of a TorchScript file holds; nothing where there is none. Raises CheckpointError."""
    if not text:
        return {}
    try:
        config = json.loads(text)
        if not isinstance(config, dict):
            raise ValueError(type(config).__name__)
    except (ValueError, RecursionError) as error:
        raise CheckpointError("unreadable metadata", where, str(error)[:100], "export the file again") from error
    return config


def torchscript_entries(config: dict[str, Any]) -> dict[str, str]:
    """Return the entries of other formats: JSON has turned the numbers of the names into text."""
    entries = {name: str(config[name]) for name in ("stride", "names") if name in config}
    if KEY in config:
        entries[KEY] = json.dumps(config[KEY])
    return entries


def _is_half(program: Any) -> bool:
    first = next(iter(program.parameters()), None)
    return first is not None and first.dtype == torch.float16


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
