"""ONNX files by ONNX Runtime, arrays in and out: no torch needed, none imported."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accel_yolo import console
from accel_yolo.errors import CheckpointError, ConfigError, first_line
from accel_yolo.inference.runtimes.description import described, fitted
from accel_yolo.inference.runtimes.packages import optional

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_TYPES = {"tensor(float)": np.dtype(np.float32), "tensor(float16)": np.dtype(np.float16)}
_ERRORS_ONLY = 3  # its warnings are about its own optimiser


class OnnxSession:
    """A detector in an ONNX file.

    Batches come from the host and predictions go there, also when the CUDA provider computes between.

    Args:
        path: the file: input [B, 3, H, W] in 0..1, output [B, N, 5 + C] decoded, or detections [B, K, 6].
        device: "" takes the first CUDA device where ONNX Runtime has one, else the CPU; "cpu"; or a CUDA device ("0",
            "cuda:0"): where ONNX Runtime has none, a warning says so and the CPU is taken.
        precision: "auto", or the one of the file.

    Attributes:
        description: what it takes and returns.
        dtype: of its input.

    Raises:
        EnvironmentFault: ONNX Runtime is not installed.
        CheckpointError: missing, damaged, or not a detector of this family.
        ConfigError: no such device, or another precision than that of the file.
    """

    def __init__(self, path: Path, device: str = "", precision: str = "auto") -> None:
        session = _session(path, device)
        first, output = session.get_inputs()[0], session.get_outputs()[0]
        if first.type not in _TYPES:
            remedy = "float and float16 are known: export it again"
            raise CheckpointError("not a detector's input", str(path), first.type, remedy)
        self.dtype, half = _TYPES[first.type], first.type == "tensor(float16)"
        description = described(session.get_modelmeta().custom_metadata_map, str(path))
        self.description = fitted(description, first.shape, output.shape, str(path), half=half)
        self.description.require_precision(precision, str(path))
        self._session, self._where = session, str(path)
        self._input, self._output = first.name, output.name

    def run(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return the first output for images [B, 3, H, W] of `dtype`. Raises CheckpointError."""
        try:
            (output,) = self._session.run([self._output], {self._input: images})
        except Exception as error:  # its classes are made in C++ and have no common base
            what = f"{'x'.join(map(str, images.shape))}: {first_line(error)}"
            raise CheckpointError("ONNX Runtime cannot run", self._where, what, "export it again") from error
        return np.asarray(output, np.float32)


def _session(path: Path, device: str) -> InferenceSession:
    runtime = optional("onnxruntime", "running ONNX files")
    providers = _providers(runtime, device, path)
    if not path.is_file():
        raise CheckpointError("no such model file", str(path), remedy="check the path")
    options = runtime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = _threads()
    try:
        return runtime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its classes are made in C++ and have no common base
        raise CheckpointError("damaged ONNX file", str(path), first_line(error), "export it again") from error


def _threads() -> int:
    """Return how many threads torch uses, or would use were it here; 0 lets ONNX Runtime choose."""
    if (torch := sys.modules.get("torch")) is not None:
        return torch.get_num_threads()
    with contextlib.suppress(ValueError):
        return max(int(os.environ.get("OMP_NUM_THREADS", "")), 0)
    return 0


def _providers(runtime: Any, device: str, path: Path) -> list[Any]:
    """Return where ONNX Runtime runs, best first."""
    text = device.strip().lower().removeprefix("cuda:")
    if not (text in ("", "cpu", "cuda") or text.isdecimal()):
        raise ConfigError("not a device of ONNX Runtime", "device", device, "use cpu or the number of a GPU such as 0")
    has_cuda = _CUDA in runtime.get_available_providers()
    if text not in ("", "cpu") and not has_cuda:
        install = "for a GPU pip install onnxruntime-gpu"
        console.warn(f"onnxruntime has no CUDA here, {path.name} runs on the CPU; {install}")
    if text == "cpu" or not has_cuda:
        return [_CPU]
    return [(_CUDA, {"device_id": int(text) if text.isdecimal() else 0}), _CPU]
