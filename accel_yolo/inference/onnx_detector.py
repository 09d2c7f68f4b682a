"""Exported ONNX models by ONNX Runtime, with NumPy and OpenCV around them: no torch needed, none imported."""

# B images, N predictions per image, C classes

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accel_yolo.errors import CheckpointError, ConfigError, EnvironmentFault
from accel_yolo.inference.picture_detector import Found, Picture, PictureDetector, PredictOptions, letterboxed
from accel_yolo.inference.results import Speed
from accel_yolo.inference.runtimes.description import DETECTION_COLUMNS, as_predictions, described
from accel_yolo.letterbox import Letterbox
from accel_yolo.metrics.nms_arrays import suppressed_arrays

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_TYPES = {"tensor(float)": np.dtype(np.float32), "tensor(float16)": np.dtype(np.float16)}
_INSTALL = "pip install onnxruntime"
_AGAIN = "export the model again"


class OnnxDetector(PictureDetector):
    """An exported model, ready for images of any size.

    Args:
        path: the `.onnx` file: input `images` [B, 3, H, W] in 0..1, output [B, N, 5 + C] decoded.
        device: "" takes the first CUDA device where ONNX Runtime has one, else the CPU; "cpu"; or a CUDA index ("0").

    Attributes:
        meta: what the file says about itself.

    Raises:
        CheckpointError: missing, damaged, or not such a model.
        ConfigError: no such device.
        EnvironmentFault: ONNX Runtime is not installed.
    """

    def __init__(self, path: Path, device: str = "") -> None:
        self._session = _session(path, device)
        wanted, where = self._session.get_inputs()[0], str(path)
        properties = self._session.get_modelmeta().custom_metadata_map
        described_ = described(properties, where)
        self._nms = described_.nms
        if wanted.type not in _TYPES or len(wanted.shape) != 4:
            raise CheckpointError("not a detector's input", where, f"{wanted.type} {wanted.shape}", _AGAIN)
        self._input, self._dtype = wanted.name, _TYPES[wanted.type]
        batch, _, height, width = (side if isinstance(side, int) else None for side in wanted.shape)
        self._batch, self._where = batch, where
        self.fixed_hw = None if height is None or width is None else (height, width)
        self.stride = max(32, *described_.strides)
        self.names = described_.names or _numbered_names(self._session.get_outputs()[0].shape, where)

    def found(self, boxes: Sequence[Letterbox], pictures: Sequence[Picture], options: PredictOptions) -> Found:
        """Return the objects kept of pictures whose letterboxes have one size."""
        times = [time.perf_counter()]
        pixels = np.ascontiguousarray(letterboxed(boxes, pictures).transpose(0, 3, 1, 2))
        images = (pixels.astype(np.float32) / np.float32(255)).astype(self._dtype, copy=False)
        times.append(time.perf_counter())
        decoded = self._decoded(images)
        times.append(time.perf_counter())
        tables = [suppressed_arrays(rows, options.nms) for rows in decoded]
        times.append(time.perf_counter())
        return tables, Speed(*(np.diff(times) * 1e3).tolist())

    def _decoded(self, images: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Return the predictions [N, 5 + C] of each image."""
        size = self._batch or len(images)
        decoded: list[NDArray[np.float32]] = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            short = size - len(part)  # a model of fixed batch is given grey images for what is missing
            filled = part if not short else np.concatenate((part, np.full((short, *part.shape[1:]), 0.447, part.dtype)))
            output = self._run(filled)
            columns = 5 + len(self.names) if self._nms is None else DETECTION_COLUMNS
            if output.ndim != 3 or output.shape[2] != columns:
                remedy = f"[B, N, {columns}] is needed for {len(self.names)} classes"
                raise CheckpointError("not a detector's output", self._where, list(output.shape), remedy)
            decoded += [self._as_predictions(rows) for rows in output[: len(part)]]
        return decoded

    def _as_predictions(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return predictions [k, 5 + C] of the rows of one image; what NMS in the graph kept has one certain class."""
        if self._nms is None:
            return rows
        return as_predictions(rows[rows[:, 4] > 0], len(self.names), self._where)

    def _run(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return the first output for a batch [B, 3, H, W]."""
        try:
            return np.asarray(self._session.run(None, {self._input: images})[0], np.float32)
        except Exception as error:  # its classes are made in C++ and have no common base
            reason = str(error).strip().split("\n")[0][:200]
            shape = "x".join(map(str, images.shape))
            raise CheckpointError(f"the model does not take {shape}", self._where, reason, _AGAIN) from error


def _session(path: Path, device: str) -> InferenceSession:
    try:
        import onnxruntime
    except ImportError as error:
        raise EnvironmentFault("ONNX models need ONNX Runtime", value=str(path), remedy=_INSTALL) from error
    if not path.is_file():
        raise CheckpointError("no such model file", str(path), remedy="check the path")
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3  # errors: its warnings are about its own optimiser
    with contextlib.suppress(ValueError):
        settings.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", ""))
    try:
        return onnxruntime.InferenceSession(str(path), settings, providers=_providers(onnxruntime, device))
    except ConfigError:
        raise
    except Exception as error:  # its classes are made in C++ and have no common base
        reason = str(error).strip().split("\n")[0][:200]
        raise CheckpointError("damaged ONNX file", str(path), reason, "get the file again") from error


def _providers(onnxruntime: Any, device: str) -> list[Any]:
    """Return where ONNX Runtime runs, best first."""
    text = device.strip().lower().removeprefix("cuda:")
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if text == "cpu" or (text == "" and not has_cuda):
        return ["CPUExecutionProvider"]
    if not (text in ("", "cuda") or text.isdecimal()):
        raise ConfigError("not a device of ONNX Runtime", "device", device, "use cpu or the number of a GPU such as 0")
    if not has_cuda:
        raise ConfigError("this ONNX Runtime has no CUDA", "device", device, "use cpu, or pip install onnxruntime-gpu")
    index = int(text) if text.isdecimal() else 0
    return [("CUDAExecutionProvider", {"device_id": index}), "CPUExecutionProvider"]


def _numbered_names(shape: Sequence[Any], where: str) -> dict[int, str]:
    """Return names for classes that the file does not name."""
    if len(shape) != 3 or not isinstance(shape[2], int) or shape[2] < 6:
        raise CheckpointError("names no classes", where, f"output {list(shape)}", _AGAIN)
    return {number: f"class{number}" for number in range(shape[2] - 5)}
