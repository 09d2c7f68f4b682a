"""A checkpoint is there whole or not at all, and damage is noticed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from accel_yolo.engine.checkpoint import KEEP, CheckpointFolder, read, verify
from accel_yolo.errors import CheckpointError, EnvironmentFault

GROUPS = {
    "model": {"a.weight": torch.arange(12.0).view(3, 4), "n": torch.tensor(3)},
    "ema": {"a.weight": torch.ones(3, 4)},
    "optimizer": {"a.weight/momentum_buffer": torch.zeros(3, 4)},
}


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
        for _ in range(8):
            damaged = bytearray(content)
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
            for other in (bytes(damaged), content[: draw.randrange(len(content))]):
                file.write_bytes(other)
                # A flipped bit in the white space of a manifest leaves the same manifest: nothing is damaged then.
                try:
                    assert verify(path)["files"]
                    assert file.name == "manifest.json"
                    assert read(path)[1] == {"epoch": 1}
                except CheckpointError as error:
                    assert str(path) in str(error)
        file.write_bytes(content)
    verify(path)


def test_a_checkpoint_without_manifest_does_not_exist(folder: CheckpointFolder) -> None:
    older = folder.write("step-1", GROUPS, {})
    newer = folder.write("step-2", GROUPS, {})
    (newer / "manifest.json").unlink()
    assert folder.newest_valid() == older


def test_the_newest_steps_are_kept_and_validation_replaces_what_it_followed(folder: CheckpointFolder) -> None:
    for step in range(1, 6):
        folder.write(f"step-{step}", GROUPS, {"step": step})
        assert len(folder.names()) >= min(step, KEEP)
        folder.rewrite_state(f"step-{step}", f"step-{step}-validated", {"step": step, "validated": True})
    assert folder.names() == ["step-4-validated", "step-5-validated"]
    assert read(folder.folder / "step-5-validated")[1]["validated"]


def test_leftovers_of_a_killed_writer_are_not_taken_for_a_checkpoint(folder: CheckpointFolder) -> None:
    path = folder.write("step-1", GROUPS, {})
    (folder.folder / ".tmp-step-2-1").mkdir()
    (folder.folder / ".tmp-step-2-1" / "model.safetensors").write_bytes(b"half")
    assert folder.newest_valid() == path


def test_a_full_disk_leaves_the_old_checkpoint_and_says_so(
    folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = folder.write("step-1", GROUPS, {})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("accel_yolo.engine.checkpoint.fsync_file", full)
    with pytest.raises(EnvironmentFault, match="No space left on device"):
        folder.write("step-2", GROUPS, {})
    monkeypatch.undo()
    assert folder.newest_valid() == old
    assert folder.names() == ["step-1"]
    assert sorted(path.name for path in folder.folder.iterdir()) == ["step-1"]


def test_a_newer_format_is_refused(folder: CheckpointFolder) -> None:
    path = folder.write("step-1", GROUPS, {})
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(CheckpointError, match="newer version"):
        verify(path)
