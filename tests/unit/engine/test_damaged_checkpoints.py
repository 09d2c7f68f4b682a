"""Damage anywhere in a checkpoint of a real training is noticed, and the run goes on from the one before."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import tiny_config

from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.checkpoint_files import MANIFEST
from accel_yolo.engine.checkpoint_reading import verify
from accel_yolo.errors import CheckpointError

FLIPS, CUTS = 200, 64


def trained(config: TrainConfig) -> None:
    from accel_yolo import console
    from accel_yolo.engine.train import train

    console.quiet()
    train(config, {})


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory, sparse_data: Path, module_processes: Callable) -> Path:
    """The checkpoints of a real training: two, each of all its files."""
    folder = tmp_path_factory.mktemp("run")
    module_processes(1, trained, tiny_config(sparse_data, folder, epochs=2))
    return folder / "exp" / "checkpoints"


@pytest.fixture(scope="module")
def module_processes() -> Callable:
    from processes import run_in_processes

    return run_in_processes


@pytest.fixture
def copied(checkpoints: Path, tmp_path: Path) -> CheckpointFolder:
    """A copy that may be damaged: linked, files that are changed are written anew."""
    shutil.copytree(checkpoints, tmp_path / "checkpoints")
    return CheckpointFolder(tmp_path / "checkpoints")


def found(folder: CheckpointFolder) -> str:
    newest = folder.newest_valid()
    assert newest is not None
    return newest.name


@pytest.mark.slow
def test_every_flipped_bit_and_every_cut_is_noticed_and_the_older_one_found(
    copied: CheckpointFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    older, newest = copied.names()[-2:]
    files = sorted(path for path in (copied.folder / newest).iterdir())
    assert len(files) >= 5, "tensors, state and manifest"
    draw = random.Random(8)
    damages = [("flip", files[number % len(files)]) for number in range(FLIPS)]
    damages += [("cut", files[number % len(files)]) for number in range(CUTS)]
    assert found(copied) == newest
    for number, (kind, file) in enumerate(damages):
        whole = file.read_bytes()
        damaged = bytearray(whole)
        if kind == "flip":
            # All of a file alike, but its first and last kilobyte more often: headers and ends are where readers look.
            place = draw.choice((draw.randrange(len(whole)), draw.randrange(min(1024, len(whole))), len(whole) - 1))
            damaged[place] ^= 1 << draw.randrange(8)
        else:
            del damaged[draw.choice((0, draw.randrange(len(whole)), len(whole) - 1)) :]
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            verify(file.parent)
        if file.name == MANIFEST or number % 4 == 0:  # reading all of the older one each time would take long
            assert found(copied) == older
            assert f"{newest}" in capfd.readouterr().err
        file.write_bytes(whole)
    assert found(copied) == newest


def test_files_that_are_missing_swapped_or_of_another_checkpoint_are_noticed(copied: CheckpointFolder) -> None:
    older, newest = (copied.folder / name for name in copied.names()[-2:])
    kept = copied.folder.with_name("kept")
    shutil.copytree(newest, kept)

    def is_noticed(damage: Callable[[], object]) -> None:
        damage()
        assert found(copied) == older.name
        shutil.rmtree(newest)
        shutil.copytree(kept, newest)

    for name in sorted(path.name for path in kept.iterdir()):
        is_noticed((newest / name).unlink)
        is_noticed(lambda name=name: (newest / name).write_bytes(bytes((kept / name).stat().st_size)))
    is_noticed(lambda: shutil.copy(newest / "ema.safetensors", newest / "model.safetensors"))
    is_noticed(lambda: shutil.copy(older / "state.json", newest / "state.json"))
    is_noticed(lambda: (newest / "state.json").write_text(json.dumps(json.loads((kept / "state.json").read_text()))))
    assert found(copied) == newest.name


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: {**manifest, "files": {}},
        lambda manifest: {
            **manifest,
            "files": {**manifest["files"], "../../../../etc/passwd": {"bytes": 1, "sha256": ""}},
        },
        lambda manifest: {**manifest, "files": list(manifest["files"])},
        lambda manifest: {**manifest, "format": "x"},
        lambda _: [],
        lambda _: None,
    ],
)
def test_a_manifest_that_lies_is_no_manifest(copied: CheckpointFolder, change: Callable) -> None:
    older, newest = (copied.folder / name for name in copied.names()[-2:])
    (file,) = [path for path in newest.iterdir() if path.name.lower().startswith("manifest")]
    text = file.read_text()
    manifest = json.JSONDecoder().raw_decode(text)[0]
    file.write_text(json.dumps(change(manifest)))
    assert found(copied) == older.name


@pytest.mark.parametrize("text", ["", "{", "[" * 50_000, '{"a":' * 50_000, "9" * 5000, "\ud800"])
def test_a_manifest_that_is_no_json_is_none(copied: CheckpointFolder, text: str) -> None:
    older, newest = (copied.folder / name for name in copied.names()[-2:])
    (file,) = [path for path in newest.iterdir() if path.name.lower().startswith("manifest")]
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert found(copied) == older.name
