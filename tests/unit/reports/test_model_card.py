"""The model card: read back by the library of the hub itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from accel_yolo.models.licence import UNSTATED
from accel_yolo.models.weights_meta import WeightsMeta
from accel_yolo.reports.model_card import CardFacts, data_names, model_card

META = WeightsMeta({0: "cat", 1: "d|og"}, [[[1.0, 2.0]]], (8, 16, 32), {}, 320, UNSTATED, ("trained on pets.yaml",))
RUN = {
    "settings": {"weights": "/home/me/yolov5s.pt", "data": ["/data/pets.yaml"], "epochs": 3, "project": "/secret/runs"},
    "hyp": {"lr0": 0.01},
}
ENTRY = {"precision": 0.5, "recall": 0.6, "map50": 0.7, "map50_95": 0.4}
METRICS = {
    "images": 10, "instances": 30, **ENTRY,
    "per_class": [{"name": "cat", "instances": 20, **ENTRY}, {"name": "d|og", "instances": 10, **ENTRY}],
}  # fmt: skip


def card_of(**changed: object) -> ModelCard:
    facts = {"name": "pets", "meta": META, "repository": "me/pets", "metrics": METRICS, "run": RUN, **changed}
    return ModelCard(model_card(CardFacts(**facts)))  # type: ignore[arg-type]


def test_the_front_matter_is_what_the_hub_reads() -> None:
    data = card_of(measured_on=("pets",), split="val").data
    assert (data.library_name, data.pipeline_tag, data.license) == ("accel_yolo", "object-detection", "unknown")
    assert data.datasets == ["pets"]
    assert data.model_name == "pets"
    found = {(one.metric_type, one.metric_value) for one in data.eval_results}
    assert found == {("mAP", 0.4), ("mAP_50", 0.7), ("precision", 0.5), ("recall", 0.6)}
    assert {(one.task_type, one.dataset_name, one.dataset_split) for one in data.eval_results} == {
        ("object-detection", "pets", "val")
    }


def test_the_text_says_what_it_is_how_to_use_it_and_how_good_it_is() -> None:
    text = card_of().text
    assert 'accel_yolo.load("me/pets")' in text
    assert "2 classes: cat, d|og" in text
    assert "| all | 30 | 0.500 | 0.600 | 0.700 | 0.400 |" in text
    assert "| d/og | 10 |" in text
    assert "1. trained on pets.yaml" in text
    assert "has not stated a licence" in text
    assert "lr0: 0.01" in text


def test_folders_of_the_machine_are_left_out() -> None:
    text = card_of().text
    assert "/home" not in text
    assert "/data" not in text
    assert "/secret" not in text
    assert "weights: yolov5s.pt" in text


def test_what_is_not_known_is_said() -> None:
    card = card_of(metrics=None, run=None)
    assert card.data.eval_results is None
    assert "No measurement of these weights is recorded" in card.text
    assert "settings of the training are not recorded" in card.text
    assert data_names(None) == []


@pytest.mark.parametrize(("split", "words"), [("val", "validation"), ("test", "test"), ("train", "training")])
def test_metrics_name_the_data_set_and_the_split_that_were_measured(split: str, words: str) -> None:
    card = card_of(measured_on=("birds",), split=split)
    assert {(one.dataset_name, one.dataset_split) for one in card.data.eval_results} == {("birds", split)}
    assert f"On birds, {words} split, 10 images" in card.text


def test_the_data_of_a_measurement_are_never_guessed_from_those_of_the_training() -> None:
    card = card_of()
    assert {(one.dataset_name, one.dataset_split) for one in card.data.eval_results} == {("not stated", None)}
    assert "Data set not stated, 10 images" in card.text
    assert card.data.datasets == ["pets"]


@pytest.mark.parametrize(("licence", "front", "words"), [
    ("AGPL-3.0", "agpl-3.0", "must be offered the complete source"),
    ("Apache-2.0", "apache-2.0", "stated to be under Apache-2.0"),
])  # fmt: skip
def test_a_licence_is_stated_twice(tmp_path: Path, licence: str, front: str, words: str) -> None:
    import dataclasses

    card = card_of(meta=dataclasses.replace(META, licence=licence))
    card.save(tmp_path / "README.md")
    again = ModelCard.load(tmp_path / "README.md")
    assert again.data.license == front
    assert words in again.text
