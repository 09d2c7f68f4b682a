"""Run folders: none is overwritten unasked, a failure leaves the earlier run whole, a full disk is one line."""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Commands, digest_of

from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.models.weights import load_weights

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def full_disk(largest_file_bytes: int) -> Iterator[None]:
    """Let every write of a larger file fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_run_folder_that_exists_is_never_touched(commands: Commands, data: Path, published_weights: Path) -> None:
    commands.train(data).succeeded()
    commands.guarded.append(commands.project / "exp")
    commands.train(data).succeeded()
    commands.val(data, published_weights, "--single-cls").succeeded()
    commands.detect(data.parent / "images", published_weights).succeeded()
    assert sorted(path.name for path in commands.project.iterdir()) == ["exp", "exp2", "exp3", "exp4"]


def test_no_command_touches_labels_of_the_user(commands: Commands, data: Path, published_weights: Path) -> None:
    """A data set of the layout <split>/images, <split>/labels, named as run folder: its labels are not replaced."""
    mine = data.parent / "mine"
    shutil.copytree(data.parent / "images", mine / "val" / "images")
    shutil.copytree(data.parent / "labels", mine / "val" / "labels")
    place = ("--save-txt", "--project", mine, "--exist-ok", "--name")
    for name in ("val", "val/labels"):
        commands.val(data, published_weights, "--single-cls", *place, name).error(2, f"{mine}/{name}; its files could")
        commands.detect(data.parent / "images", published_weights, *place, name).error(2, f"{mine}/{name}; its files")
        commands.train(data, *place[1:], name).error(2, f"{mine}/{name}; its files could")


@pytest.mark.parametrize("linked", [False, True])
def test_label_files_of_a_run_replace_only_those_of_a_run(
    commands: Commands, data: Path, published_weights: Path, linked: bool
) -> None:
    run, labels = commands.project / "exp", commands.project / "exp" / "labels"
    commands.detect(data.parent / "images", published_weights).succeeded()
    if linked:
        labels.symlink_to(data.parent / "labels")
    else:
        labels.mkdir()
        (labels / "classes.json").write_text("{}")
    commands.guarded.append(run)
    again = ("--save-txt", "--exist-ok")
    refused = f"not the label files of a run: {labels}; "
    commands.val(data, published_weights, "--single-cls", *again).error(2, refused)
    commands.detect(data.parent / "images", published_weights, *again).error(2, refused)
    commands.guarded.remove(run)
    labels.unlink() if linked else shutil.rmtree(labels)
    for _ in range(2):
        commands.val(data, published_weights, "--single-cls", "--conf-thres", "0", *again).succeeded()
        commands.detect(data.parent / "images", published_weights, *again).succeeded()


def test_exist_ok_replaces_an_earlier_longer_run_completely(commands: Commands, data: Path) -> None:
    commands.train(data, "--epochs", "3").succeeded()
    run = commands.project / "exp"
    old = digest_of(run / "weights" / "best.safetensors")
    (run / "mine.txt").write_text("a note of the user")
    commands.train(data, "--exist-ok").succeeded()
    assert [path.name for path in commands.project.iterdir()] == ["exp"]
    assert len((run / "results.csv").read_text().splitlines()) == 2
    assert CheckpointFolder(run / "checkpoints").names() == ["step-00000001-validated"]
    assert digest_of(run / "weights" / "best.safetensors") != old
    assert (run / "mine.txt").read_text() == "a note of the user"
    notes = commands("train", "--resume", run).succeeded().starting("note")
    assert f"note: {run} is finished after 1 epochs; nothing is left to do; more --epochs " in notes[-1]


@pytest.mark.parametrize("fault", ["--data nowhere.yaml", "--weights nowhere.pt", "--freeze 999", "--epochs 0"])
def test_a_start_that_fails_costs_the_earlier_run_nothing_even_with_exist_ok(
    commands: Commands, data: Path, fault: str
) -> None:
    commands.train(data).succeeded()
    run = commands.project / "exp"
    commands.guarded += [
        run / name for name in ("checkpoints", "weights", "results.csv", "config.yaml", "metrics.json")
    ]
    outcome = commands.train(data, "--exist-ok", *fault.split())
    outcome.error(outcome.code, fault.split()[-1])
    assert outcome.code in (2, 3, 4)


def test_a_project_that_cannot_be_a_folder(commands: Commands, data: Path, published_weights: Path) -> None:
    for project in (data, data / "below"):
        for outcome in (
            commands.train(data, "--project", project),
            commands.val(data, published_weights, "--single-cls", "--project", project),
            commands.detect(data.parent / "images", published_weights, "--project", project),
        ):
            outcome.error(7, f"cannot create: {project}/exp; Not a directory: choose another folder")


def test_validation_finds_out_before_its_work_that_its_folder_cannot_be_made(
    commands: Commands, data: Path, published_weights: Path
) -> None:
    outcome = commands.val(data, published_weights, "--single-cls", "--project", data)
    outcome.error(7, "cannot create")
    assert outcome.out == ""


def test_a_full_disk_while_saving_keeps_the_earlier_checkpoint_and_the_run_continues_later(
    commands: Commands, data: Path
) -> None:
    commands.train(data).succeeded()
    run = commands.project / "exp"
    commands.guarded += [run / "checkpoints" / "step-00000001-validated", run / "weights"]
    with full_disk(1 << 20):
        outcome = commands("train", "--resume", run, "--epochs", "2")
    (warning,) = (line for line in outcome.starting("warning") if "the checkpoint" in line)
    assert "cannot save the checkpoint in" in warning
    assert "File too large; free some space; the earlier checkpoints" in warning
    outcome.error(7, f"cannot write in {run}/weights/last.safetensors", "File too large")
    assert not list((run / "checkpoints").glob(".tmp*"))
    commands.guarded.clear()
    assert "Continuing after 1 steps" in commands("train", "--resume", run, "--epochs", "2").succeeded().out
    assert load_weights(run / "weights" / "best.safetensors").meta.names[0] == "a"


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="mounts a disk that cannot be written")
def test_a_disk_that_cannot_be_written_is_one_line_for_a_new_run_and_a_resumed_one(
    commands: Commands, data: Path, tmp_path: Path
) -> None:
    commands.train(data).succeeded()
    run = commands.project / "exp"
    anew = ["--data", data, "--weights", "", "--cfg", "yolov5n", "--project", run]
    for words in (anew, ["--resume", run, "--epochs", "2"]):
        train = shlex.join([sys.executable, "-m", "accel_yolo", "train", *map(str, words), "--device", "cpu"])
        mounted = f"mount --bind {run} {run} && mount -o remount,ro,bind {run} && exec {train}"
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", mounted], capture_output=True, text=True, cwd=ROOT, check=False
        )
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert done.returncode == 7 and len(lines) == 1, done.stderr
        assert "Read-only file system" in lines[0] and str(run) in lines[0] and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["n.safetensors", "n.pt"])
def test_a_full_disk_leaves_no_half_of_a_converted_file(
    commands: Commands, tmp_path: Path, published_weights: Path, name: str
) -> None:
    target = tmp_path / "converted" / name
    with full_disk(1 << 20):
        commands("convert", published_weights, target).error(
            7, f"cannot write in {target}: ", "; check space and rights"
        )
    assert list(target.parent.iterdir()) == []


def test_resuming_nothing(commands: Commands, data: Path, published_weights: Path) -> None:
    commands.train(data, "--resume").error(4, f"no run to resume in {commands.project}; give its folder")
    for place in ("nowhere", str(data), str(published_weights), str(data.parent)):
        commands("train", "--resume", place).error(4, f"no checkpoint to resume in {place}; name a run folder")


def test_resuming_a_damaged_run(commands: Commands, data: Path) -> None:
    commands.train(data, "--epochs", "2").succeeded()
    run = commands.project / "exp"
    newest = sorted((run / "checkpoints").iterdir())[-1] / "model.safetensors"
    content = bytearray(newest.read_bytes())
    content[-5] ^= 1
    newest.write_bytes(content)
    commands("train", "--resume", run, "--seed", "4").error(
        2, "cannot change while resuming in --seed: 4; the run has 0"
    )
    outcome = commands("train", "--resume", run, "--epochs", "3").succeeded()
    assert any("checkpoint is damaged in" in line and "trying the one before" in line for line in outcome.lines)
    for checkpoint in (run / "checkpoints").iterdir():
        (checkpoint / "manifest.json").write_text("{}")
    commands("train", "--resume", run, "--epochs", "4").error(
        4, "no valid checkpoint in", f"; start anew; --weights {run}"
    )
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("epochs:", "epoks:", 1))
    commands("train", "--resume", run).error(2, f"unknown key in {config}:", "'settings.epoks'; did you mean 'epochs'?")
    config.write_text("settings: 1\n")
    commands("train", "--resume", run).error(2, f"not a saved configuration in {config}")
    shutil.rmtree(run / "checkpoints")
    commands("train", "--resume", run).error(4, "no checkpoint to resume in")
