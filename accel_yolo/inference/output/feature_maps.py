"""What the layers of a torch network see in an image, as pictures."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from accel_yolo.errors import ConfigError
from accel_yolo.inference.network import Network, TorchNetwork
from accel_yolo.inference.output.encoding import write_image
from accel_yolo.models.network_input import network_input

MOST_CHANNELS = 64
_LEAST_TILE_PX, _GAP_PX = 32, 1


class FeatureMaps:
    """Writes one PNG for each layer of a network: its first channels side by side, dark is low and bright is high.

    Args:
        network: a single torch network.

    Raises:
        ConfigError: another runtime runs it, or there are several.
    """

    def __init__(self, network: Network) -> None:
        if not isinstance(network, TorchNetwork):
            remedy = "give one .pt or .safetensors file, without --augment"
            raise ConfigError("no layers to look into", "--visualize", "this network", remedy)
        self._network = network

    @torch.inference_mode()
    def write(self, pixels: NDArray[np.uint8], folder: Path) -> None:
        """Write `layer00_Conv.png` and so on into a folder.

        Args:
            pixels: [H, W, 3] uint8 RGB, a network input.
            folder: made where it is missing.

        Raises:
            EnvironmentFault: a picture cannot be written.
        """
        batch = torch.from_numpy(pixels[None]).to(self._network.device)
        with self._listening(lambda name, maps: write_image(folder / f"{name}.png", sheet(maps))):
            self._network(network_input(batch, self._network.input_dtype))

    @contextlib.contextmanager
    def _listening(self, take: Callable[[str, NDArray[np.float32]], object]) -> Iterator[None]:
        # The last layer is the head, whose output is no map of features.
        layers = list(self._network.detector.model)[:-1]
        hooks = [layer.register_forward_hook(_taker(number, take)) for number, layer in enumerate(layers)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def sheet(maps: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return channels side by side, each from its own least value (dark) to its greatest (bright).

    Args:
        maps: [C, h, w]; at most MOST_CHANNELS of them are shown.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    maps = maps[:MOST_CHANNELS]
    columns = math.ceil(math.sqrt(len(maps)))
    rows = math.ceil(len(maps) / columns)
    scale = max(1, math.ceil(_LEAST_TILE_PX / min(maps.shape[1:])))
    height, width = maps.shape[1] * scale, maps.shape[2] * scale
    canvas = np.full((rows * (height + _GAP_PX) + _GAP_PX, columns * (width + _GAP_PX) + _GAP_PX, 3), 255, np.uint8)
    for place, values in enumerate(maps):
        low, high = float(values.min()), float(values.max())
        grey = np.round((values - low) / (high - low or 1.0) * 255).astype(np.uint8)
        large = cv2.resize(grey, (width, height), interpolation=cv2.INTER_NEAREST)
        top = _GAP_PX + place // columns * (height + _GAP_PX)
        left = _GAP_PX + place % columns * (width + _GAP_PX)
        canvas[top : top + height, left : left + width] = cv2.applyColorMap(large, cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return canvas


def _taker(number: int, take: Callable[[str, NDArray[np.float32]], object]) -> Callable[..., None]:
    def hook(layer: nn.Module, inputs: object, output: Tensor) -> None:
        take(f"layer{number:02d}_{type(layer).__name__}", output[0].float().cpu().numpy())

    return hook
