"""ONNX files, run by OpenCV's DNN module (`--dnn`)."""

from __future__ import annotations

from pathlib import Path

import cv2
import torch
from torch import Tensor

from accel_yolo.errors import CheckpointError, ConfigError, first_line
from accel_yolo.inference.runtimes.exported import ExportedNetwork
from accel_yolo.inference.runtimes.onnx_file import described_onnx


class OpenCvNetwork(ExportedNetwork):
    """A detector in an ONNX file that OpenCV runs on the CPU.

    Raises:
        EnvironmentFault: the package that reads the metadata (onnx) is not installed.
        CheckpointError: damaged, not a detector of this family, or with operations that OpenCV does not know.
        ConfigError: non-maximum suppression is part of the graph.
    """

    def __init__(self, path: Path, device: torch.device, precision: str = "auto") -> None:
        description = described_onnx(path)
        if description.nms is not None:
            # It reads such a graph and then ends the whole process with a division by zero.
            what, remedy = (
                "OpenCV does not run NMS in the graph",
                "leave --dnn out, or export the weights without --nms",
            )
            raise ConfigError(what, "--dnn", path, remedy)
        super().__init__(path, description, torch.device("cpu"), precision)
        try:
            self._net = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise self._unable(error) from error

    @property
    def input_dtype(self) -> torch.dtype:
        """OpenCV takes float32, whatever the file computes in."""
        return torch.float32

    def run(self, images: Tensor) -> Tensor:
        """Return the first output, float32 on the CPU."""
        try:
            self._net.setInput(images.contiguous().numpy())
            output = self._net.forward()
        except cv2.error as error:
            raise self._unable(error) from error
        # The memory of the answer is used again for the next one.
        return torch.from_numpy(output.copy()).float()

    def _unable(self, error: cv2.error) -> CheckpointError:
        what = first_line(error)
        return CheckpointError("OpenCV cannot run", str(self.path), what, "leave --dnn out: ONNX Runtime runs the file")
