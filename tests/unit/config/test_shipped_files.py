"""Shipped files are found by name, by YOLOv5's spellings, and never in place of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from accel_yolo.config import shipped as shipped_module
from accel_yolo.config.shipped import find_config, label_of, shipped, shipped_names
from accel_yolo.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("kind", "text", "name"),
    [
        ("hyps", "scratch-low", "scratch-low"),
        ("hyps", "scratch-low.yaml", "scratch-low"),
        ("hyps", "hyps/VOC.yaml", "VOC"),
        ("hyps", "hyp.scratch-low.yaml", "scratch-low"),
        ("hyps", "data/hyps/hyp.scratch-low.yaml", "scratch-low"),
        ("hyps", "./data/hyps/hyp.Objects365.yaml", "Objects365"),
        ("models", "yolov5s", "yolov5s"),
        ("models", "yolov5s.yaml", "yolov5s"),
        ("models", "models/yolov5s.yaml", "yolov5s"),
        ("models", "models/hub/yolov5s6.yaml", "yolov5s6"),
        ("data", "coco128", "coco128"),
        ("data", "coco128.yaml", "coco128"),
        ("data", "data/coco128.yaml", "coco128"),
        ("data", "demo", "demo"),
    ],
)
def test_the_spellings_of_yolov5_reach_the_shipped_files(
    kind: str, text: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, path = find_config(kind, text, "--flag")
    assert found == name
    assert path == shipped(kind, name)
    assert label_of(path) == f"{kind}/{name}.yaml"


def test_a_renamed_hyper_parameter_file_is_found_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    find_config("hyps", "data/hyps/hyp.scratch-med.yaml", "--hyp")
    assert capsys.readouterr().err == "note: data/hyps/hyp.scratch-med.yaml is the shipped hyps/scratch-med.yaml\n"


def test_the_users_own_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    own = tmp_path / "data" / "coco128.yaml"
    own.write_text("")
    assert find_config("data", "data/coco128.yaml", "--data") == ("data/coco128.yaml", Path("data/coco128.yaml"))
    assert find_config("data", "data/coco128", "--data")[1] == Path("data/coco128.yaml")
    assert find_config("data", str(own), "--data")[1] == own


def test_a_folder_of_the_same_name_does_not_hide_a_shipped_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert find_config("data", "demo", "--data")[0] == "demo"


def test_a_wrong_folder_is_not_overlooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no such data file in --data: mine/coco128.yaml"):
        find_config("data", "mine/coco128.yaml", "--data")


@pytest.mark.parametrize(
    ("kind", "text", "error", "words"),
    [
        ("data", "coco12", DataError, "did you mean 'coco128'?"),
        ("models", "yolov5z.yaml", ConfigError, "did you mean 'yolov5"),
        ("hyps", "data/hyps/hyp.scratch-lo.yaml", ConfigError, "did you mean 'scratch-low'?"),
        ("data", "x" * 5000, DataError, "no such data file"),
        ("models", "../models/yolov5n", ConfigError, "no such model file"),
    ],
)
def test_a_name_that_is_not_there_names_the_places_and_the_nearest(
    kind: str, text: str, error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as raised:
        find_config(kind, text, "--flag")
    assert words in str(raised.value)
    assert "shipped" in str(raised.value)


def test_a_folder_given_for_a_data_file_names_the_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("")
    with pytest.raises(DataError, match=r"a folder where .*give the file: .*data\.yaml"):
        find_config("data", str(tmp_path), "--data")


def test_names_cannot_leave_the_folder_of_shipped_files() -> None:
    for name in ("../hyps/VOC", "/etc/passwd", "..", "", ".hidden"):
        assert shipped("hyps", name) is None


def test_a_wheel_brings_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "accel_yolo" / "_configs" / "hyps"
    inside.mkdir(parents=True)
    (inside / "only.yaml").write_text("")
    monkeypatch.setattr(shipped_module, "__file__", str(tmp_path / "accel_yolo" / "config" / "shipped.py"))
    assert shipped_names("hyps") == ["only"]
    assert shipped("hyps", "only") == inside / "only.yaml"
