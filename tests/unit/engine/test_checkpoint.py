"""A checkpoint is there whole or not at all, and damage is noticed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from accel_yolo import waypoints
from accel_yolo.engine.checkpoint import KEEP, CheckpointFolder
from accel_yolo.engine.checkpoint_files import manifest_text, tensor_pieces, write_file
from accel_yolo.engine.checkpoint_reading import read, verify
from accel_yolo.errors import CheckpointError, EnvironmentFault, NewerCheckpoint
from accel_yolo.files import sha256_file

GROUPS = {
    "model": {"a.weight": torch.arange(12.0).view(3, 4), "n": torch.tensor(3)},
    "ema": {"a.weight": torch.ones(3, 4)},
    "optimizer": {"a.weight/momentum_buffer": torch.zeros(3, 4)},
}


POINTS = [
    "save space", *(f"save write {stem}" for stem in ("model", "ema", "optimizer", "state")), "save manifest",
    "save folder", "save rename",
]  # fmt: skip
"""Where a writer may be caught before the checkpoint has its name."""


@contextlib.contextmanager
def fault(monkeypatch: pytest.MonkeyPatch, words: str) -> Iterator[None]:
    """Let a fault happen at a point."""
    monkeypatch.setenv(waypoints.FAIL, words)
    waypoints.begin(0)
    yield
    monkeypatch.delenv(waypoints.FAIL)
    waypoints.begin(0)


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "checkpoints")


def test_what_is_written_is_read_again(folder: CheckpointFolder) -> None:
    path = folder.write("step-1", GROUPS, {"epoch": 1})
    groups, state = read(path)
    assert state == {"epoch": 1}
    for stem, tensors in GROUPS.items():
        assert groups[stem].keys() == tensors.keys()
        assert all(torch.equal(groups[stem][name], value) for name, value in tensors.items())


def test_any_flipped_bit_and_any_truncation_is_noticed(folder: CheckpointFolder) -> None:
    path = folder.write("step-1", GROUPS, {"epoch": 1})
    draw = random.Random(0)
    for file in sorted(path.iterdir()):
        content = file.read_bytes()
        for _ in range(16):
            damaged = bytearray(content)
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
            for other in (bytes(damaged), content[: draw.randrange(len(content))]):
                file.write_bytes(other)
                with pytest.raises(CheckpointError, match=re.escape(str(path))):
                    verify(path)
        file.write_bytes(content)
    verify(path)


@pytest.mark.parametrize("file", ["manifest.json", "ema.safetensors"])
@pytest.mark.parametrize("what", ["gone", "cut", "unreadable"])
def test_what_is_wrong_with_a_checkpoint_is_told_with_what_to_do(
    folder: CheckpointFolder, file: str, what: str
) -> None:
    path = folder.write("step-1", GROUPS, {})
    (path / file).rename(path / "elsewhere")
    if what == "cut":
        (path / file).write_bytes((path / "elsewhere").read_bytes()[:-9])
    if what == "unreadable":
        (path / file).symlink_to(file)  # to itself: even root cannot open it
    with pytest.raises(CheckpointError) as caught:
        verify(path)
    look = what == "unreadable" and file != "manifest.json"
    assert str(caught.value).endswith(
        "; look at the disk, and at who may read it" if look else "; if there is a copy, restore its files"
    )


def test_any_flipped_bit_of_a_manifest_leads_to_the_checkpoint_before(folder: CheckpointFolder) -> None:
    older, newer = (folder.write(f"step-{step}", GROUPS, {}) for step in (1, 2))
    content = (newer / "manifest.json").read_bytes()
    version = content.index(b'"format": 2') + len('"format": ')
    draw = random.Random(0)
    some = [(place, draw.randrange(8)) for place in range(len(content))]
    for place, bit in (*some, *((version, bit) for bit in range(8))):
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        (newer / "manifest.json").write_bytes(damaged)
        with pytest.raises(CheckpointError) as caught:
            verify(newer)
        assert not isinstance(caught.value, NewerCheckpoint), f"bit {bit} of {content[place - 9 : place + 9]}"
        if place == version:
            assert folder.newest_valid() == older
    (newer / "manifest.json").write_bytes(content)
    assert folder.newest_valid() == newer


def test_a_checkpoint_without_manifest_does_not_exist(folder: CheckpointFolder) -> None:
    older = folder.write("step-1", GROUPS, {})
    newer = folder.write("step-2", GROUPS, {})
    (newer / "manifest.json").unlink()
    assert folder.newest_valid() == older


def test_the_newest_steps_are_kept_and_validation_replaces_what_it_followed(folder: CheckpointFolder) -> None:
    for step in range(1, 6):
        folder.write(f"step-{step}", GROUPS, {"step": step})
        assert len(folder.names()) >= min(step, KEEP)
        validated = {"step": step, "validated": True}
        folder.write(f"step-{step}-validated", GROUPS, validated, source=f"step-{step}")
    assert folder.names() == ["step-4-validated", "step-5-validated"]
    assert read(folder.folder / "step-5-validated")[1]["validated"]


@pytest.mark.parametrize("damage", ["manifest", "size", "bit"])
def test_a_damaged_checkpoint_does_not_count_as_one_that_is_kept(folder: CheckpointFolder, damage: str) -> None:
    for step in (1, 2):
        folder.write(f"step-{step}", GROUPS, {"step": step})
    file = folder.folder / "step-2" / ("manifest.json" if damage == "manifest" else "ema.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + (b"" if damage == "size" else bytes([content[-1] ^ 1])))
    folder.write("step-3", GROUPS, {"step": 3})
    assert folder.names() == ["step-1", "step-2", "step-3"], "the first is one of the two that are whole"
    folder.write("step-4", GROUPS, {"step": 4})
    assert folder.names() == ["step-3", "step-4"]


def test_what_is_damaged_is_set_aside_under_a_name_of_its_own_and_does_not_pile_up(folder: CheckpointFolder) -> None:
    whole = folder.write("step-1", GROUPS, {})
    (folder.folder / ".damaged-step-2").write_text("somebody's")
    for _ in range(3):
        for name in ("step-2", "step-3"):
            shutil.copytree(whole, folder.folder / name)
        folder.set_aside_after("step-1")
        found = sorted(path.name for path in folder.folder.iterdir())
        assert found == [".damaged-step-2", ".damaged-step-2-1", ".damaged-step-3", "step-1"]
    folder.clear()
    assert [path.name for path in folder.folder.iterdir()] == [".damaged-step-2"]


def test_what_cannot_be_set_aside_is_told(folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (1, 2):
        folder.write(f"step-{step}", GROUPS, {})

    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(CheckpointError) as caught:
        folder.set_aside_after("step-1")
    what = f"a damaged checkpoint cannot be set aside in {folder.folder / 'step-2'}: Permission denied; move it away"
    assert what in str(caught.value)


def test_leftovers_of_a_killed_writer_are_not_taken_for_a_checkpoint(folder: CheckpointFolder) -> None:
    path = folder.write("step-1", GROUPS, {})
    (folder.folder / ".tmp-step-2-1").mkdir()
    (folder.folder / ".tmp-step-2-1" / "model.safetensors").write_bytes(b"half")
    assert folder.newest_valid() == path


def test_a_full_disk_leaves_the_old_checkpoint_and_says_so(
    folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = folder.write("step-1", GROUPS, {})
    for point in POINTS:
        with fault(monkeypatch, f"{point}:*:*:enospc"), pytest.raises(EnvironmentFault) as caught:
            folder.write("step-2", GROUPS, {})
        assert f"cannot save the checkpoint in {folder.folder / 'step-2'}: No space left on device; free" in str(
            caught.value
        )
    assert folder.newest_valid() == old
    assert folder.names() == ["step-1"]
    assert sorted(path.name for path in folder.folder.iterdir()) == ["step-1"]


@pytest.mark.parametrize(("fails", "remedy"), [("enospc", "free some space"), ("eio", "look at the disk")])
def test_the_remedy_fits_the_fault(
    folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch, fails: str, remedy: str
) -> None:
    fault_of_saving = fault(monkeypatch, f"save manifest:*:*:{fails}")
    with fault_of_saving, pytest.raises(EnvironmentFault, match=f"; {remedy}; the earlier checkpoints are untouched"):
        folder.write("step-1", GROUPS, {})


def test_a_newer_format_is_refused(folder: CheckpointFolder) -> None:
    path = folder.write("step-1", GROUPS, {})
    manifest = path / "manifest.json"
    manifest.write_bytes(manifest_text({**json.loads(manifest.read_bytes()), "format": 3}))
    folder.write("step-0", GROUPS, {})
    for look in (lambda: verify(path), folder.newest_valid):  # the one before it must not be taken in its place
        with pytest.raises(
            CheckpointError, match="written by a newer version in .*step-1: format 3; update accel_yolo"
        ):
            look()


def test_a_disk_that_is_nearly_full_is_noticed_before_anything_is_written(
    folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = folder.write("step-1", GROUPS, {})
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=14_000))
    with pytest.raises(EnvironmentFault) as caught:
        folder.write("step-2", GROUPS, {})
    assert f"disk full: {folder.folder.parent} needs 0.07 MB, has 0.01 MB; free some space" in str(caught.value)
    assert [path.name for path in folder.folder.iterdir()] == [old.name]


def test_two_whole_checkpoints_are_there_at_every_instant(
    folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        folder.write(f"step-{step}", GROUPS, {"step": step})
    seen = []
    monkeypatch.setattr("accel_yolo.waypoints.fail_at", lambda name: seen.append((name, whole_ones(folder))))
    folder.write("step-3", GROUPS, {"step": 3})
    folder.write("step-3-validated", GROUPS, {"step": 3}, source="step-3")
    assert {name for name, _ in seen} == {*POINTS, "save link", "save parent", "prune"}
    assert all(count >= KEEP for _, count in seen)
    assert folder.names() == ["step-2", "step-3-validated"]


def whole_ones(folder: CheckpointFolder) -> int:
    """Return of how many steps there is a whole checkpoint."""
    return len({name.removesuffix("-validated") for name in folder.names() if verify(folder.folder / name)})


def test_what_killed_writers_have_left_is_removed_and_what_others_are_writing_stays(folder: CheckpointFolder) -> None:
    old = folder.write("step-1", GROUPS, {})
    here, dead = socket.gethostname(), 2**22 + 1  # no process has that number
    leave = [
        f".tmp-step-2@{here}@{dead}",
        f".trash-step-0@{here}@{dead}",
        f".tmp-step-2-{dead}",
        ".trash-step-09999999",
    ]
    keep = [f".tmp-step-3@{here}@{os.getppid()}", f".tmp-step-3@elsewhere@{dead}"]
    aged = f".trash-step-4@elsewhere@{dead}"
    for name in (*leave, *keep, aged):
        (folder.folder / name).mkdir()
        (folder.folder / name / "model.safetensors").write_bytes(b"half")
    os.utime(folder.folder / aged, (0, 0))
    folder.remove_leftovers()
    assert sorted(path.name for path in folder.folder.iterdir()) == sorted([*keep, old.name])


def test_a_folder_that_is_no_checkpoint_is_left_alone(folder: CheckpointFolder) -> None:
    folder.write("step-1", GROUPS, {})
    (folder.folder / "mine").mkdir()
    for step in range(2, 5):
        folder.write(f"step-{step}", GROUPS, {})
    folder.clear()
    assert [path.name for path in folder.folder.iterdir()] == ["mine"]


def test_equal_tensors_give_files_that_the_library_reads_and_that_are_equal(tmp_path: Path) -> None:
    tensors = {
        "flag": torch.tensor([True, False, True]), "half": torch.randn(3).half(), "brain": torch.randn(2, 2).bfloat16(),
        "empty": torch.zeros(0, 4), "scalar": torch.tensor(2.5), "long": torch.arange(3),
        "double": torch.ones(2).double(),
    }  # fmt: skip
    entries = [
        write_file(tmp_path / name, tensor_pieces(dict(order)))
        for name, order in (("a", tensors.items()), ("b", reversed(tensors.items())))
    ]
    assert entries[0] == entries[1] == {"bytes": (tmp_path / "a").stat().st_size, "sha256": sha256_file(tmp_path / "a")}
    loaded = load_file(tmp_path / "a")
    assert loaded.keys() == tensors.keys()
    assert all(
        loaded[name].dtype == value.dtype and torch.equal(loaded[name], value) for name, value in tensors.items()
    )


def test_a_tensor_that_lies_otherwise_in_memory_is_refused_and_not_mixed_up() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 2\)"):
        list(tensor_pieces({"turned": torch.rand(2, 3).t()}))
