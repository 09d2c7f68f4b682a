"""What a model lets its user do with the torch module in it; torch is imported when that is asked for."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from accel_yolo.errors import ConfigError
from accel_yolo.inference.picture_detector import PictureDetector

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from typing_extensions import Self

    from accel_yolo.inference.network import TorchNetwork
    from accel_yolo.models.detector import Detector

_NO_MODULE = "load a single .pt or .safetensors file, without augment"


class TorchAccess:
    """The part of a model that torch runs, where it does."""

    predictor: PictureDetector

    @property
    def stride(self) -> int:
        """Input sizes are multiples of this, px."""
        return self.predictor.stride

    def predictions(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return what the network says about a batch, without any processing before or after.

        Args:
            images: [B, 3, H, W] float, RGB in 0..1, H and W multiples of `stride`.

        Returns:
            decoded: [B, N, 5 + C]: cx, cy, w, h in px of `images`, objectness and class probabilities.
            raw: outputs of the head, one [B, A, H, W, 5 + C] for each level.

        Raises:
            ConfigError: another runtime than torch runs this model, or sides that do not fit.
        """
        network = self._torch_network
        import torch

        if images.shape[1] != 3 or any(side % self.stride for side in images.shape[2:]):
            remedy = f"pass [B, 3, H, W] with sides that are multiples of {self.stride}"
            raise ConfigError("not an input of this network", "images", list(images.shape), remedy)
        with torch.no_grad():
            raw = network(images.to(network.device, network.input_dtype))
            return network.detector.decode(raw), raw

    @property
    def detector(self) -> Detector:
        """The detector itself, a `torch.nn.Module`, fused.

        Raises:
            ConfigError: another runtime than torch runs it, or it is several.
        """
        return self._torch_network.detector

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._torch_network.device

    def to(self, device: str | torch.device) -> Self:
        """Return self with a copy of the network on a device, in the same precision.

        Raises:
            ConfigError, EnvironmentFault: no such device, it has no such precision (half, on a CPU: call `float()`
                first), or the network cannot be moved.
        """
        network = self._torch_network
        from accel_yolo.devices import autocast_dtype, named_device, precision_named
        from accel_yolo.inference.network import TorchNetwork
        from accel_yolo.inference.predictor import Predictor

        place = named_device(str(device))
        if place != network.device:
            precision = precision_named(network.dtype)
            autocast_dtype(precision, place)  # before anything is copied
            # A copy: others may hold the network, and know where it is.
            moved = copy.deepcopy(network.detector).to(place)
            self.predictor = Predictor(TorchNetwork(moved, precision, network.imgsz))
        return self

    def cpu(self) -> Self:
        """Return self after moving the network to the CPU."""
        return self.to("cpu")

    def cuda(self, device: int | None = None) -> Self:
        """Return self after moving the network to a GPU."""
        return self.to(f"cuda:{device or 0}")

    def half(self) -> Self:
        """Return self after the network was told to run in half precision.

        Raises:
            ConfigError: it runs on a CPU, which has none.
        """
        return self._in_precision("fp16")

    def float(self) -> Self:
        """Return self after the network was told to run in single precision."""
        return self._in_precision("fp32")

    def eval(self) -> Self:
        """Return self: it always predicts."""
        return self

    @property
    def amp(self) -> bool:
        """Whether the network runs in half precision; on a CPU setting it has no effect, as in YOLOv5."""
        return self._torch_network.dtype is not None

    @amp.setter
    def amp(self, wanted: bool) -> None:
        if self._torch_network.device.type != "cpu":
            self._in_precision("fp16" if wanted else "fp32")

    def _in_precision(self, precision: str) -> Self:
        network = self._torch_network
        from accel_yolo.devices import autocast_dtype

        network.dtype = autocast_dtype(precision, network.device)
        return self

    @property
    def _torch_network(self) -> TorchNetwork:
        network = getattr(self.predictor, "network", None)
        if network is not None:
            from accel_yolo.inference.network import TorchNetwork

            if isinstance(network, TorchNetwork):
                return network
        raise ConfigError("not a single torch module", "this model", remedy=_NO_MODULE)
