"""Large images, tile by tile, through a detector whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from accel_yolo.errors import ConfigError
from accel_yolo.inference.network import Network
from accel_yolo.inference.predictor import Picture, PredictOptions, Predictor
from accel_yolo.inference.tiles.tiling import Tiling
from accel_yolo.metrics.nms_options import NmsOptions

DOGS = NmsOptions(conf_thres=0.5)


def test_an_object_that_only_a_tile_shows_is_found_where_it_is(bright_spot: Network, spot_image: Callable) -> None:
    image = spot_image((600, 1000), (810, 420, 850, 450))
    options = PredictOptions((320, 320), DOGS, Tiling(320, 0.25))
    found = Predictor(bright_spot)(image, options, path="a/large.png", stem="large")
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes_xyxy, [[810, 420, 850, 450]], atol=1)
    assert found.image is image
    assert (found.path, found.stem, found.orig_hw) == ("a/large.png", "large", (600, 1000))
    # 3 x 4 tiles at their own size, and the whole image shrunk to the same one.
    assert found.tiles == 13
    assert found.input_hw == (320, 320)


def test_tiles_and_the_whole_image_go_through_the_network_in_batches(
    bright_spot: Network, spot_image: Callable
) -> None:
    image = spot_image((320, 900), (10, 10, 50, 50))
    Predictor(bright_spot)(image, PredictOptions((320, 320), tiling=Tiling(320, 0.25, batch=3)))
    assert bright_spot.seen == [(3, 3, 320, 320), (1, 3, 320, 320), (1, 3, 128, 320)]
    bright_spot.inputs.clear()
    Predictor(bright_spot)(image, PredictOptions((320, 320), tiling=Tiling(320, 0.25, whole=False, batch=8)))
    assert bright_spot.seen == [(4, 3, 320, 320)]


def test_an_object_larger_than_a_tile_is_one_object_with_and_without_the_whole_image(
    bright_spot: Network, spot_image: Callable
) -> None:
    box = (100, 60, 850, 140)
    image = spot_image((200, 900), box)
    for whole in (True, False):
        found = Predictor(bright_spot)(image, PredictOptions((320, 320), DOGS, Tiling(320, 0.2, whole=whole)))
        assert len(found) == 1
        np.testing.assert_allclose(found.boxes_xyxy, [box], atol=4)


def test_images_that_fit_into_a_tile_are_looked_at_as_ever(bright_spot: Network, spot_image: Callable) -> None:
    pictures = [
        Picture(spot_image((120, 160), (40, 30, 100, 90)), "small.png", "small"),
        Picture(spot_image((120, 700), (40, 30, 100, 90)), "wide.png", "wide"),
        Picture(spot_image((320, 320), (4, 3, 100, 90)), "full.png", "full"),
    ]
    tiled = PredictOptions((320, 320), tiling=Tiling(320))
    found = Predictor(bright_spot).detect(pictures, tiled)
    assert [(each.stem, each.tiles) for each in found] == [("small", 1), ("wide", 4), ("full", 1)]
    for place in (0, 2):
        alone = Predictor(bright_spot).detect([pictures[place]], replace(tiled, tiling=None))[0]
        np.testing.assert_array_equal(found[place].xyxy, alone.xyxy)


def test_the_most_confident_are_kept_of_all_tiles_together(bright_spot: Network, spot_image: Callable) -> None:
    image = spot_image((320, 900), (400, 10, 450, 50))
    options = PredictOptions((320, 320), NmsOptions(max_det=1), Tiling(320, 0.5))
    assert Predictor(bright_spot)(image, options).summary() == "1 dog"


def test_an_unknown_class_is_refused_before_anything_is_cut(bright_spot: Network, spot_image: Callable) -> None:
    with pytest.raises(ConfigError, match="--classes: 9"):
        Predictor(bright_spot)(spot_image((800, 900)), PredictOptions(nms=NmsOptions(classes=(9,)), tiling=Tiling(64)))
    assert bright_spot.seen == []
