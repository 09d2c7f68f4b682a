"""Detections in the forms of other libraries."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from accel_yolo.errors import EnvironmentFault
from accel_yolo.inference.network import Network
from accel_yolo.inference.predictor import PredictOptions, Predictor
from accel_yolo.inference.results import Detections


@pytest.fixture
def found(bright_spot: Network, spot_image: Callable[..., np.ndarray]) -> Detections:
    return Predictor(bright_spot)(spot_image(), PredictOptions())


def test_supervision_gets_boxes_names_and_draws_them(found: Detections) -> None:
    supervision = pytest.importorskip("supervision")
    theirs = found.to_supervision()
    np.testing.assert_array_equal(theirs.xyxy, found.boxes_xyxy)
    assert theirs.xyxy.dtype == np.float32
    assert theirs.class_id.tolist() == [1, 0]
    assert theirs["class_name"].tolist() == ["dog", "person"]
    assert theirs.tracker_id is None
    assert len(theirs[theirs.confidence > 0.5]) == 1
    drawn = supervision.BoxAnnotator().annotate(found.image.copy(), theirs)
    drawn = supervision.LabelAnnotator().annotate(drawn, theirs)
    assert (drawn != found.image).any()


def test_no_object_is_an_empty_set_of_supervision(bright_spot: Network) -> None:
    supervision = pytest.importorskip("supervision")
    nothing = Predictor(bright_spot)(np.zeros((50, 60, 3), np.uint8), PredictOptions())
    theirs = nothing.to_supervision()
    assert len(theirs) == 0
    assert len(Detections.from_supervision(theirs, nothing.image)) == 0
    assert len(Detections.from_supervision(supervision.Detections.empty(), nothing.image)) == 0


def test_what_comes_back_from_supervision_is_the_same(found: Detections) -> None:
    again = Detections.from_supervision(found.to_supervision(), found.image)
    np.testing.assert_array_equal(again.xyxy, found.xyxy)
    assert again.summary() == found.summary()
    assert Detections.from_supervision(found.to_supervision(), found.image, {1: "cat"}).name_of(1) == "cat"


def test_where_supervision_is_missing_the_command_is_named(found: Detections, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(
        EnvironmentFault,
        match=r"to_supervision\(\) needs a package that is missing: supervision; pip install supervision",
    ):
        found.to_supervision()


def test_json_and_coco_rows_are_plain(found: Detections) -> None:
    assert json.loads(found.to_json()) == found.to_dicts()
    first, second = json.loads(json.dumps(found.to_coco(7, {1: 18, 0: 1})))
    assert (first["image_id"], first["category_id"], second["category_id"]) == (7, 18, 1)
    x1, y1, x2, y2 = found.boxes_xyxy[0]
    np.testing.assert_allclose(first["bbox"], [x1, y1, x2 - x1, y2 - y1], atol=1e-3)
    assert found.to_coco("a")[0]["category_id"] == 1
    assert str(found) == "image: 1 person, 1 dog"
