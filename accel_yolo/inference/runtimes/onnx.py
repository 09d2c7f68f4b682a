"""ONNX files, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from accel_yolo import console
from accel_yolo.errors import CheckpointError
from accel_yolo.inference.runtimes.description import described, fitted
from accel_yolo.inference.runtimes.exported import ExportedNetwork
from accel_yolo.inference.runtimes.packages import optional

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_ERRORS_ONLY = 3


class OnnxNetwork(ExportedNetwork):
    """A detector in an ONNX file.

    Batches come from the host and predictions go there, also when the CUDA provider computes between.

    Raises:
        EnvironmentFault: ONNX Runtime is not installed.
        CheckpointError: damaged, or not a detector of this family.
    """

    def __init__(self, path: Path, device: torch.device, precision: str = "auto") -> None:
        self.session = onnx_session(path, on_cuda=device.type == "cuda")
        first, output = self.session.get_inputs()[0], self.session.get_outputs()[0]
        entries = self.session.get_modelmeta().custom_metadata_map
        description = described(entries, str(path))
        description = fitted(description, first.shape, output.shape, str(path), half=first.type == "tensor(float16)")
        super().__init__(path, description, torch.device("cpu"), precision)
        self._input, self._output = first.name, output.name

    def run(self, images: Tensor) -> Tensor:
        """Return the first output, float32 on the CPU."""
        try:
            (output,) = self.session.run([self._output], {self._input: images.contiguous().numpy()})
        except Exception as error:  # its exceptions have no common base of their own
            raise CheckpointError(
                "ONNX Runtime cannot run", str(self.path), first_line(error), "export it again"
            ) from error
        return torch.from_numpy(output).float()


def onnx_session(path: Path, *, on_cuda: bool) -> Any:
    """Return an `onnxruntime.InferenceSession` of a file, with as many threads as torch uses.

    Raises:
        EnvironmentFault: ONNX Runtime is not installed.
        CheckpointError: it cannot read the file.
    """
    runtime = optional("onnxruntime", "running ONNX files")
    providers = [_CPU]
    if on_cuda and _CUDA in runtime.get_available_providers():
        providers.insert(0, _CUDA)
    elif on_cuda:
        console.warn(
            f"onnxruntime has no CUDA here, {path.name} runs on the CPU; for a GPU pip install onnxruntime-gpu"
        )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = _ERRORS_ONLY
    try:
        return runtime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its exceptions have no common base of their own
        raise CheckpointError("cannot read ONNX file", str(path), first_line(error), "export it again") from error


def first_line(error: Exception) -> str:
    """Return the first line of a message, at most 200 characters."""
    return str(error).strip().split("\n")[0][:200]
