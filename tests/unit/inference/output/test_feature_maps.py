"""Pictures of what the layers of a network see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accel_yolo.data.images import read_image
from accel_yolo.errors import ConfigError
from accel_yolo.inference.network import Network, TorchNetwork
from accel_yolo.inference.output.feature_maps import MOST_CHANNELS, FeatureMaps, sheet
from accel_yolo.models.zoo import build_detector, model_spec


def test_each_layer_but_the_head_becomes_a_picture(tmp_path: Path) -> None:
    network = TorchNetwork(build_detector(model_spec("yolov5n"), {0: "a"}))
    before = sum(len(module._forward_hooks) for module in network.detector.modules())
    FeatureMaps(network).write(np.zeros((64, 96, 3), np.uint8), tmp_path / "photo")
    names = sorted(path.name for path in (tmp_path / "photo").iterdir())
    assert len(names) == len(network.detector.model) - 1 == 24
    assert (names[0], names[9], names[23]) == ("layer00_Conv.png", "layer09_SPPF.png", "layer23_C3.png")
    # 16 channels of 32 x 48 in four columns, lines of a pixel between them.
    assert read_image(str(tmp_path / "photo" / names[0])).shape == (4 * 33 + 1, 4 * 49 + 1, 3)
    assert sum(len(module._forward_hooks) for module in network.detector.modules()) == before


def test_each_channel_goes_from_dark_to_bright_and_many_are_cut_off() -> None:
    maps = np.stack([np.linspace(0, 10.0**power, 64 * 64).reshape(64, 64) for power in range(9)]).astype(np.float32)
    drawn = sheet(maps)
    assert drawn.shape == (3 * 65 + 1, 3 * 65 + 1, 3)
    for row in range(3):
        for column in range(3):
            tile = drawn[1 + row * 65 : 65 + row * 65, 1 + column * 65 : 65 + column * 65].astype(int)
            assert tile[0, 0].sum() < 200 < 400 < tile[-1, -1].sum()
    assert (
        sheet(np.zeros((1000, 64, 64), np.float32)).shape == sheet(np.zeros((MOST_CHANNELS, 64, 64), np.float32)).shape
    )


def test_only_a_single_torch_network_has_layers(bright_spot: Network) -> None:
    with pytest.raises(ConfigError, match="no layers to look into in --visualize"):
        FeatureMaps(bright_spot)
