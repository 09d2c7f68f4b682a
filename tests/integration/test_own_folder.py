"""A folder of images with one COCO json is all that a command needs, and it stays as it is."""

from __future__ import annotations

import json
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from commands import Commands
from own_data import make_own_data


@pytest.fixture
def mine(commands: Commands, tmp_path: Path, sparse_data: Path) -> Path:
    """Twenty-six images, five of which are held out; no command may change the folder."""
    folder = make_own_data(tmp_path / "mine", sparse_data)
    commands.guarded.append(folder)
    return folder


def test_the_data_commands_take_a_folder(commands: Commands, tmp_path: Path, mine: Path) -> None:
    checked = commands("data check", "--data", mine).succeeded().out
    assert "train: 21 images" in checked and "val: 5 images" in checked and "Nothing is wrong with it" in checked
    assert "21 images" in commands("data stats", "--data", mine).succeeded().out
    commands("data show", "--data", mine, "--into", tmp_path / "shown").succeeded()
    assert {path.name for path in (tmp_path / "shown").glob("*.jpg")} == {"mine-train.jpg", "mine-val.jpg"}
    commands("data convert", "--data", mine, "--to", "yolo", "--into", tmp_path / "yolo").succeeded()
    assert len(list((tmp_path / "yolo" / "images" / "val").iterdir())) == 5
    commands("data split", "--data", mine, "--into", tmp_path / "split").succeeded()
    splits = [json.loads((tmp_path / "split" / f"{name}.json").read_text())["images"] for name in ("train", "val")]
    assert list(map(len, splits)) == [21, 5]


def test_a_folder_is_trained_on_measured_and_exported_with(commands: Commands, mine: Path) -> None:
    mine = mine.rename(mine.with_name("what I drew"))
    commands.guarded[:] = [mine]
    trained = commands.train(mine).succeeded()
    for line in trained.out.partition("Next:")[2].strip().splitlines():
        words = shlex.split(line)
        named = [Path(value) for flag, value in pairwise(words) if flag in ("--weights", "--data", "--source")]
        assert len(named) >= 1 and all(path.exists() for path in named), "what is said can be copied into a shell"
    assert trained.err.count("is read as COCO") == 1
    run = commands.project / "exp"
    assert yaml.safe_load((run / "config.yaml").read_text())["settings"]["data"] == [str(mine)]
    best = run / "weights" / "best.safetensors"
    commands.val(mine, best, "--save-json", "--conf-thres", 0.0001).succeeded()
    (found,) = commands.project.glob("exp?/*predictions.json")
    ids = {each["image_id"] for each in json.loads(found.read_text())}
    assert 0 < len(ids) <= 5, "only what was held out is measured"
    words = ("--include", "torchscript", "--imgsz", 64, "--device", "cpu")
    commands("export", "--weights", best, "--data", mine, *words).succeeded()


@pytest.mark.slow
def test_a_folder_is_split_alike_by_several_processes(commands: Commands, mine: Path) -> None:
    for processes in ("1", "2"):
        commands.train(mine, "--processes", processes, "--sync-bn", "--name", processes).succeeded()
    runs = [commands.project / processes for processes in ("1", "2")]
    one, two = (json.loads((run / "metrics.json").read_text()) for run in runs)
    assert one["images"] == two["images"] == 5 and one["instances"] == two["instances"]
    losses = [json.loads((run / "metrics.jsonl").read_text().splitlines()[1])["train/box_loss"] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
