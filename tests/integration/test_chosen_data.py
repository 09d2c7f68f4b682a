"""Training and validation on a part of the data, or on several data sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import TINY, Commands

from accel_yolo.config.val_schema import ValConfig
from accel_yolo.engine.validate import validate
from accel_yolo.models.weights import load_weights


def metrics_of(commands: Commands, name: str = "exp") -> dict:
    return json.loads((commands.project / name / "metrics.json").read_text())


def weights_of(commands: Commands, name: str = "exp") -> Path:
    return commands.project / name / "weights" / "best.safetensors"


def test_a_detector_of_some_classes_has_these_alone_and_is_measured_on_them(
    commands: Commands, sparse_data: Path
) -> None:
    commands.train(sparse_data, "--classes", "c", "0").succeeded()
    assert load_weights(weights_of(commands)).meta.names == {0: "a", 1: "c"}
    trained = metrics_of(commands)
    assert {each["name"] for each in trained["per_class"]} <= {"a", "c"}
    commands("val", "--data", sparse_data, "--weights", weights_of(commands), *TINY, "--classes", "a", "c",
             "--project", commands.project, "--name", "again").succeeded()  # fmt: skip
    assert metrics_of(commands, "again")["instances"] == trained["instances"]
    refused = commands("val", "--data", sparse_data, "--weights", weights_of(commands), *TINY)
    refused.error(2, "the weights know 2 classes, the data set has 3", "--classes")


def test_a_detector_of_all_classes_is_measured_on_some(commands: Commands, sparse_data: Path) -> None:
    commands.train(sparse_data).succeeded()
    words = ("val", "--data", sparse_data, "--weights", weights_of(commands), *TINY, "--project", commands.project)
    commands(*words, "--name", "all").succeeded()
    commands(*words, "--name", "some", "--classes", "b").succeeded()
    every, some = metrics_of(commands, "all"), metrics_of(commands, "some")
    (of_all,) = (each for each in every["per_class"] if each["name"] == "b")
    assert [each for each in some["per_class"] if each["instances"]] == [of_all]
    assert some["instances"] == of_all["instances"] > 0


def test_a_share_of_the_images_is_trained_on_and_all_are_validated(commands: Commands, sparse_data: Path) -> None:
    outcome = commands.train(sparse_data, "--fraction", "0.5", "--bad-data", "fail").succeeded()
    assert "train: 13 images" in outcome.out and "val: 9 images" in outcome.out
    commands.train(sparse_data, "--fraction", "0").error(2, "--fraction")


def test_several_data_sets_are_one(commands: Commands, sparse_data: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.yaml"
    second.write_text(f"path: {sparse_data.parent}\ntrain: images/val\nval: images/val\nnames: [c, d, a]\n")
    outcome = commands.train(sparse_data, second).succeeded()
    assert "train: 35 images" in outcome.out and "val: 18 images" in outcome.out
    assert load_weights(weights_of(commands)).meta.names == {0: "a", 1: "b", 2: "c", 3: "d"}
    assert f"--data {sparse_data} {second}" in outcome.out


@pytest.mark.parametrize("word", ["zebra", "3", "-1"])
def test_an_unknown_class_is_named(commands: Commands, sparse_data: Path, word: str) -> None:
    commands.train(sparse_data, f"--classes={word}").error(2, "no such class in --classes", word)


@pytest.mark.slow
def test_processes_agree_on_classes_and_share(run_processes, sparse_data: Path, tmp_path: Path) -> None:
    from jobs import tiny_config

    from accel_yolo.engine.train import train

    config = tiny_config(sparse_data, tmp_path, classes=("a", "b"), fraction=0.7)
    states = run_processes(2, train, config, {})
    assert states[0].images == states[1].images > 0
    config = ValConfig(weights=(str(tmp_path / "exp" / "weights" / "best.safetensors"),), data=(str(sparse_data),),
                       classes=("a", "b"), imgsz=64, device="cpu", project=str(tmp_path / "val"))  # fmt: skip
    first, second = run_processes(2, validate, config)
    first.pop("speed_ms"), second.pop("speed_ms")
    assert first == second
