"""Run folders: a new one each time, never shared by accident."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from accel_yolo.errors import ConfigError, EnvironmentFault
from accel_yolo.files import next_run_folder, remove_unused_run_folder, whole_folder


def test_folders_are_numbered_from_two_and_gaps_are_filled(tmp_path: Path) -> None:
    project = tmp_path / "runs" / "train"
    assert [next_run_folder(project, "exp").name for _ in range(3)] == ["exp", "exp2", "exp3"]
    shutil.rmtree(project / "exp2")
    assert next_run_folder(project, "exp").name == "exp2"
    assert next_run_folder(project, "other").name == "other"


def test_an_existing_folder_is_used_when_that_is_wished(tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    assert next_run_folder(tmp_path, "exp", exist_ok=True) == tmp_path / "exp"
    assert next_run_folder(tmp_path, "new", exist_ok=True) == tmp_path / "new"


def test_only_a_folder_of_a_run_is_written_into_again(tmp_path: Path) -> None:
    run = next_run_folder(tmp_path, "exp")
    (run / "results.txt").touch()
    (run / "notes of the user.txt").touch()
    assert next_run_folder(tmp_path, "exp", exist_ok=True) == run
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    for _ in range(2):  # a refusal leaves no mark
        with pytest.raises(ConfigError, match="not the folder of a run.*mine; .*leave out --exist-ok"):
            next_run_folder(tmp_path, "mine", exist_ok=True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_folder_with_images_is_a_data_set_even_if_a_run_began_it(tmp_path: Path) -> None:
    (next_run_folder(tmp_path, "set") / "images").mkdir()
    with pytest.raises(ConfigError, match="a data set"):
        next_run_folder(tmp_path, "set", exist_ok=True)


def test_only_a_run_folder_without_content_is_removed(tmp_path: Path) -> None:
    used, unused = next_run_folder(tmp_path, "exp"), next_run_folder(tmp_path, "exp")
    (used / "x").touch()
    for folder in (used, unused, tmp_path):
        remove_unused_run_folder(folder)
    assert list(tmp_path.iterdir()) == [used]


def test_runs_that_start_at_once_never_share_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: next_run_folder(tmp_path, "exp"), range(64)))
    assert len(set(folders)) == 64


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "exp").touch()
    assert next_run_folder(tmp_path, "exp").name == "exp2"
    with pytest.raises(EnvironmentFault, match="exp; choose another --name"):
        next_run_folder(tmp_path, "exp", exist_ok=True)
    with pytest.raises(EnvironmentFault, match="exp"):
        next_run_folder(tmp_path / "exp", "inside")


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "new") as beside:
        (beside / "half").write_text("x")
        assert not (tmp_path / "new").exists()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "new").mkdir()  # an empty one is taken
    with whole_folder(tmp_path / "new") as beside:
        (beside / "all").write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["all"]
    (tmp_path / "file").write_text("mine")
    below = tmp_path / "file" / "new"
    with pytest.raises(EnvironmentFault, match="cannot write in .*file/new"), whole_folder(below):
        pass
