"""A model as a folder, and what may be a repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

import accel_yolo
from accel_yolo.errors import CheckpointError, ConfigError, DataError, EnvironmentFault
from accel_yolo.inference.interface.publication import Publication
from accel_yolo.models import hub
from accel_yolo.models.weights import find_weights, load_weights, save_weights
from accel_yolo.models.weights_meta import WeightsMeta
from accel_yolo.models.zoo import build_detector, model_spec

NAMES = {0: "cat", 1: "dog"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: best weights trained from scratch, metrics and settings."""
    folder = tmp_path_factory.mktemp("runs") / "pets"
    detector = build_detector(model_spec("yolov5n"), NAMES)
    save_weights(
        folder / "weights" / "best.safetensors", detector, WeightsMeta.of(detector, 96, "trained on pets.yaml")
    )
    numbers = {"precision": 0.5, "recall": 0.6, "map50": 0.7, "map50_95": 0.4}
    (folder / "metrics.json").write_text(json.dumps({"images": 1, "instances": 2, "per_class": [], **numbers}))
    (folder / "config.yaml").write_text("settings: {data: [/x/pets.yaml], epochs: 3}\nhyp: {lr0: 0.01}\n")
    return folder


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    """The model folder made of the run."""
    model = accel_yolo.Model.from_pretrained(run / "weights" / "best.safetensors", device="cpu")
    return model.save_pretrained(tmp_path / "out")


def test_a_saved_model_comes_back_bit_for_bit(run: Path, folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    before, after = load_weights(run / "weights" / "best.safetensors"), load_weights(find_weights(str(folder)))
    assert before.meta == after.meta
    assert all(torch.equal(before.state[key], value) for key, value in after.state.items())
    again = accel_yolo.Model.from_pretrained(folder, device="cpu")
    assert again.names == NAMES
    assert accel_yolo.load(folder, device="cpu").source == folder / "model.safetensors"


def test_the_configuration_is_for_people_and_the_card_shows_the_run(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["library_name"] == "accel_yolo"
    assert config["names"] == ["cat", "dog"]
    assert (config["imgsz"], config["strides"], config["licence"]) == (96, [8, 16, 32], "not stated")
    assert config["parameters"] > 1e6
    card = ModelCard.load(folder / "README.md")
    assert card.data.model_name == "pets"
    assert card.data.datasets == ["pets"]
    assert len(card.data.eval_results) == 4
    assert "lr0: 0.01" in card.text


@pytest.mark.parametrize(("key", "value"), [
    ("names", ["cat", "cow"]), ("licence", "MIT"), ("imgsz", 640), ("anchors_px", []), ("provenance", None),
])  # fmt: skip
def test_a_configuration_that_contradicts_the_weights_is_refused(folder: Path, key: str, value: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(CheckpointError, match=f"config.json and model.safetensors differ .*'{key}'"):
        accel_yolo.load(folder, device="cpu")


def test_a_foreign_or_missing_configuration_is_not_ours_to_check(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')
    accel_yolo.load(folder, device="cpu")
    (folder / "config.json").unlink()
    accel_yolo.load(folder, device="cpu")
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="unreadable configuration"):
        accel_yolo.load(folder, device="cpu")


def test_weights_without_a_licence_may_be_given_one_and_others_keep_theirs(
    run: Path, tmp_path: Path, published_weights: Path
) -> None:
    written = Publication.of(run, licence="apache-2.0").write(tmp_path / "a")
    assert load_weights(written / "model.safetensors").meta.licence == "apache-2.0"
    assert ModelCard.load(written / "README.md").data.license == "apache-2.0"
    with pytest.raises(ConfigError, match="state a licence already in --license: AGPL-3.0"):
        Publication.of(published_weights, licence="MIT")
    foreign = Publication.of(published_weights)
    assert foreign.weights.meta.licence == "AGPL-3.0"
    assert foreign.weights.meta.provenance[-1] == "converted to safetensors"
    assert foreign.metrics is None


def test_metrics_of_a_validation_are_shown_instead_and_others_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text((run / "metrics.json").read_text().replace("0.7", "0.75"))
    (tmp_path / "config.yaml").write_text("settings: {data: [birds.yaml]}\n")
    for given in (tmp_path, tmp_path / "metrics.json"):
        known = Publication.of(run, metrics=given)
        assert known.metrics is not None
        assert (known.metrics["map50"], known.measured_on) == (0.75, ("birds",))
    (tmp_path / "metrics.json").write_text("{}")
    for wrong in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(DataError, match="metrics"):
            Publication.of(run, metrics=wrong)


def test_a_folder_without_weights_and_a_model_of_several_files_are_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(CheckpointError, match="no weights in the folder"):
        Publication.of(tmp_path / "empty" if (tmp_path / "empty").mkdir() else tmp_path / "empty")
    several = accel_yolo.load([folder, folder], device="cpu")
    with pytest.raises(ConfigError, match="only weights of one file"):
        several.save_pretrained(tmp_path / "x")


def test_only_what_can_be_no_path_is_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert hub.is_repository("org/name")
    assert hub.is_repository("org/yolov5s-v7.0")
    for path in ("name", "runs/exp", "a/b/c", "org/best.pt", "org/x.onnx", "../x", "./x", "/x", "org/", "~/x", "a b/c"):
        assert not hub.is_repository(path), path
    (tmp_path / "org" / "name").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="a folder where a weights file is needed"):
        find_weights("org/name")


def test_uploading_needs_a_name_and_a_token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    model = accel_yolo.load(folder, device="cpu")
    with pytest.raises(ConfigError, match="not the name of a repository: a b/c"):
        model.push_to_hub("a b/c")
    with pytest.raises(EnvironmentFault, match="no token"):
        model.push_to_hub("org/name")
