"""What is asked of an export, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from accel_yolo.inference.runtimes.description import Description, NmsInGraph
from accel_yolo.models.detector import Detector
from accel_yolo.models.weights_meta import WeightsMeta


@dataclass(frozen=True, eq=False)
class ExportRequest:
    """One detector and how it is to be written.

    Attributes:
        detector: in float32, on the device where it is traced.
        meta: what its weights say about themselves.
        hw: input size (height, width), px, whole strides; of an example where sizes are dynamic.
        batch: images of one batch; of an example where sizes are dynamic.
        dynamic: any batch and any size in whole strides.
        half: the network computes in float16.
        simplify: let onnxslim work on the ONNX graph.
        opset: version of the ONNX operators.
        nms: suppression in the graph; None leaves it to the user of the file.
        verbose: let the exporters speak.
    """

    detector: Detector
    meta: WeightsMeta
    hw: tuple[int, int] = (640, 640)
    batch: int = 1
    dynamic: bool = False
    half: bool = False
    simplify: bool = False
    opset: int = 17
    nms: NmsInGraph | None = None
    verbose: bool = False

    @property
    def device(self) -> torch.device:
        """Where the detector is traced and the file is checked."""
        return self.detector.anchors.device

    @property
    def stride(self) -> int:
        """Input sizes are multiples of this, px."""
        return max(32, *self.detector.strides)

    def description(self, *, half: bool, dynamic: bool | None = None) -> Description:
        """Return what the file will say about itself.

        Args:
            half: its input is float16.
            dynamic: it takes any batch and size; None as asked for.
        """
        free = self.dynamic if dynamic is None else dynamic
        return Description(
            names=dict(self.detector.names),
            strides=self.detector.strides,
            hw=None if free else self.hw,
            batch=None if free else self.batch,
            imgsz=max(self.hw),
            half=half,
            nms=self.nms,
        )

    def entries(self, description: Description, form: str) -> dict[str, str]:
        """Return the text entries for the file: licence and provenance follow the weights, one step longer."""
        meta = self.meta.derived(f"exported to {form}", imgsz=max(self.hw))
        return description.entries(meta.to_json(), form)

    def example(self, *, half: bool) -> torch.Tensor:
        """Return a batch to trace with, [B, 3, H, W]: of two images at least where the batch is dynamic."""
        images = max(2, self.batch) if self.dynamic else self.batch
        dtype = torch.float16 if half else torch.float32
        return torch.zeros(images, 3, *self.hw, dtype=dtype, device=self.device)
