"""`accel-yolo info weights` says what a file is, where it comes from and what may be done with it."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from commands import Commands
from guide_commands import ROOT

from accel_yolo.config.flags import parse
from accel_yolo.config.resolve import resolve_train, resolve_val
from accel_yolo.config.shipped import shipped_names
from accel_yolo.models.facts import shipped_name, weights_facts
from accel_yolo.models.licence import may_i_ship
from accel_yolo.models.weights import WeightsMeta, detector_from_weights, load_weights, save_weights
from accel_yolo.models.zoo import build_detector, model_spec


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Weights as a training from scratch leaves them."""
    detector = build_detector(model_spec("yolov5n"), {0: "ant", 1: "bee\x1b[31m"})
    path = tmp_path / "mine.safetensors"
    save_weights(path, detector, WeightsMeta.of(detector, 320, "trained on ants.yaml for 3 epochs by accel_yolo 1"))
    return path


def test_the_published_checkpoint_is_described(commands: Commands, published_weights: Path) -> None:
    lines = commands("info weights", published_weights, "--quiet").succeeded().out.splitlines()
    assert lines == []
    out = commands("info weights", published_weights).succeeded().out
    shown = {line[:14].strip(): line[14:] for line in out.splitlines() if line[:1] not in (" ", "")}
    assert shown["size"] == "4.1 MB (4,062,133 bytes)"
    assert shown["architecture"] == "yolov5n, 25 layers"
    assert shown["parameters"] == "1,872,157 (1,867,405 fused)"
    assert shown["classes"].startswith("80: person, bicycle, car, ") and shown["classes"].endswith(" and 68 more")
    assert shown["image size"] == "640 px"
    assert shown["anchors"] == "stride 8: 10 x 13  16 x 30  33 x 23 px"
    assert shown["licence"] == "AGPL-3.0"
    assert shown["provenance"].startswith("1. imported from the YOLOv5 checkpoint yolov5n.pt (model; sha256 4f180cf")
    assert "May I ship this?" in out and "complete" in out and "under the same licence" in " ".join(out.split())


def test_every_step_on_the_way_is_listed(commands: Commands, published_weights: Path, tmp_path: Path) -> None:
    commands("convert", published_weights, tmp_path / "a.safetensors").succeeded()
    commands("convert", tmp_path / "a.safetensors", "--to", "yolov5-pt").succeeded()
    out = commands("info weights", tmp_path / "a.pt").succeeded().out
    assert "provenance    1. imported from" in out
    assert "\n              2. converted to safetensors\n              3. converted to a YOLOv5 .pt\n" in out
    assert "licence       AGPL-3.0" in out


def test_weights_from_scratch_are_their_owners(commands: Commands, scratch: Path) -> None:
    out = " ".join(commands("info weights", scratch).succeeded().out.split())
    assert "licence not stated" in out and "1. trained on ants.yaml for 3 epochs" in out
    assert "trained from scratch. They are then their owner's" in out and "AGPL" not in out
    assert "2: ant, bee\\x1b[31m" in out


def test_programs_read_one_json_object(commands: Commands, scratch: Path, published_weights: Path) -> None:
    for path in (scratch, published_weights):
        outcome = commands("info weights", path, "--json").succeeded()
        assert outcome.out.count("\n") == 1
        read = json.loads(outcome.out)
        expected = dataclasses.asdict(weights_facts(path))
        verdict = read.pop("may_i_ship")
        assert verdict == may_i_ship(expected["licence"], expected["provenance"])
        assert read == json.loads(json.dumps({**expected, "names": list(expected["names"].values())}))


@pytest.mark.parametrize("name", shipped_names("models"))
def test_a_shipped_architecture_is_known_by_its_layers_whatever_the_classes_and_anchors(name: str) -> None:
    spec = json.loads(json.dumps(model_spec(name)))
    assert shipped_name({**spec, "nc": 3, "anchors": 3, "ch": 3}) == name
    assert shipped_name({**spec, "width_multiple": 0.3}) == ""
    assert shipped_name({**spec, "activation": "nn.ReLU"}) == ""


def test_fused_parameters_are_those_of_the_fused_detector(published_weights: Path) -> None:
    detector = detector_from_weights(load_weights(published_weights)).fuse()
    facts = weights_facts(published_weights)
    assert facts.parameters_fused == sum(parameter.numel() for parameter in detector.parameters())


def test_what_may_be_done_follows_from_licence_and_provenance() -> None:
    assert "owner's" in may_i_ship("not stated", ("trained on x",))
    assert "Nothing says where" in may_i_ship("not stated", ())
    assert "stated to be under MIT" in may_i_ship("MIT", ())
    imported = may_i_ship("AGPL-3.0", ("imported from the YOLOv5 checkpoint x.pt", "trained on mine.yaml"))
    assert "come from a YOLOv5 checkpoint" in imported and "Training further does not lift that" in imported


def test_wrong_files_are_one_line(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "empty.safetensors").write_bytes(b"")
    (tmp_path / "text.pt").write_text("hello")
    commands("info weights", tmp_path / "empty.safetensors").error(4, "empty", "empty.safetensors")
    commands("info weights", tmp_path / "text.pt").error(4, "not a PyTorch file in", "text.pt")
    commands("info weights", tmp_path).error(4, "a folder where a weights file is needed")
    commands("info weights", "nowhere.pt").error(4, "no such weights file in nowhere.pt")
    commands("info weights").error(2, "something is missing after accel-yolo info weights: FILE; see")


@pytest.mark.parametrize("page", ["weights.md", "licensing.md"])
def test_the_commands_of_the_pages_run_in_their_order(page: str, commands: Commands, published_weights: Path) -> None:
    shutil.copyfile(published_weights, "yolov5n.pt")
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    ran = 0
    blocks = re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL)
    for line in (line for kind, block in blocks if kind == "bash" for line in block.splitlines()):
        _, *words = shlex.split(line)
        verbs = 2 if words[0] == "info" else 1
        outcome = commands(" ".join(words[:verbs]), *words[verbs:]).succeeded()
        if "--json" not in words and page == "licensing.md":
            assert outcome.out in text, "the page shows another answer than the command gives"
        ran += 1
    assert ran >= 2
    for block in (block for _, block in blocks if block.startswith("accelerate ")):
        train, val = (line.split("train.py ")[-1].split("val.py ")[-1] for line in block.splitlines())
        resolve_train(parse("train", shlex.split(train)).values)
        resolve_val(parse("val", shlex.split(val)).values)
