"""ONNX files, run by ONNX Runtime, as networks."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from accel_yolo.inference.runtimes.exported import ExportedNetwork
from accel_yolo.inference.runtimes.onnx_session import OnnxSession


class OnnxNetwork(ExportedNetwork):
    """A detector in an ONNX file: see `OnnxSession`."""

    def __init__(self, path: Path, device: torch.device, precision: str = "auto") -> None:
        self._session = OnnxSession(path, str(device) if device.type == "cuda" else "cpu", precision)
        super().__init__(path, self._session.description, torch.device("cpu"), precision)

    def run(self, images: Tensor) -> Tensor:
        """Return the first output, float32 on the CPU."""
        return torch.from_numpy(self._session.run(images.contiguous().numpy()))
