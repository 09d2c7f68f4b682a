"""Weights that are missing, damaged, foreign or hostile: one line, nothing executed, nothing written."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Commands

from accel_yolo import fetch
from accel_yolo.models import weights as weights_module


class Calls:
    """Pickles as a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def header(content: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(content) if length is None else length) + content


HUGE = json.dumps({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
AGAIN = "; get the file again"
BROKEN = {
    "html.pt": (b"<!doctype html><html>404</html>", "a web page, not weights in", "; the download failed"),
    "zero.pt": (b"", "empty file in", AGAIN),
    "zero.safetensors": (b"", "empty or truncated safetensors file in", ": 0 bytes", AGAIN),
    "text.pt": (b"hello, I am a model", "not a PyTorch file in", "; give a .safetensors or a YOLOv5 .pt file"),
    "huge-tensor.safetensors": (header(HUGE) + bytes(8), "damaged safetensors file in", AGAIN),
    "long-header.safetensors": (header(b"{}", 1 << 60), "empty or truncated safetensors file in", AGAIN),
    "deep-header.safetensors": (header(b'{"a":' * 50_000), "damaged safetensors file in", AGAIN),
    "no-metadata.safetensors": (header(b"{}"), "no accel_yolo metadata in", "; give a file that this project wrote"),
}


@pytest.fixture
def everywhere(commands: Commands, data: Path) -> Callable[..., None]:
    """Return a function that gives a weights file to each command and expects the same error of all."""

    def check(weights: Path, *parts: str) -> None:
        target = data.parent.parent / "converted.safetensors"
        for outcome in (
            commands.train(data, "--weights", weights, "--cfg", ""),
            commands.val(data, weights),
            commands.detect(data.parent / "images", weights),
            commands("convert", weights, target),
        ):
            assert str(weights) in outcome.error(4, *parts)
        assert not target.exists()

    return check


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_told_apart_by_every_command(everywhere: Callable, tmp_path: Path, name: str) -> None:
    content, *parts = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    everywhere(tmp_path / name, *parts)


def test_truncated_weights(everywhere: Callable, tmp_path: Path, published_weights: Path) -> None:
    cut = tmp_path / "cut.pt"
    cut.write_bytes(published_weights.read_bytes()[:1_000_000])
    everywhere(cut, "truncated or damaged PyTorch file in", "; get the file again")


def test_a_folder_and_a_file_that_is_not_there(everywhere: Callable, tmp_path: Path) -> None:
    everywhere(tmp_path, "a folder where a weights file is needed in", "; give the file")
    everywhere(tmp_path / "nowhere.pt", "no such weights file in", "; check the path")


@pytest.mark.parametrize("kind", ["protocol 2", "protocol 0", "without an archive", "named safetensors"])
def test_a_checkpoint_that_calls_the_system_is_refused_by_every_command_and_not_obeyed(
    everywhere: Callable, tmp_path: Path, kind: str
) -> None:
    canary = tmp_path / "canary"
    hostile = tmp_path / ("hostile.safetensors" if kind == "named safetensors" else "hostile.pt")
    body = pickle.dumps({"model": Calls(f"touch {canary}")}, 0 if kind == "protocol 0" else 2)
    if kind == "without an archive":
        hostile.write_bytes(body)
        everywhere(hostile, "the file format before PyTorch 1.6 is not supported in", "; if you trust it")
    else:
        with zipfile.ZipFile(hostile, "w") as archive:
            archive.writestr("archive/data.pkl", body)
        everywhere(hostile, "forbidden", "in the pickle in", "; refused", "nothing was executed")
    assert not canary.exists()


def test_the_kind_of_a_weights_file_is_told_by_content_not_by_name(
    commands: Commands, data: Path, published_weights: Path
) -> None:
    renamed = data.parent / "renamed.safetensors"
    renamed.write_bytes(published_weights.read_bytes())
    commands.detect(data.parent / "images" / "0.png", renamed).succeeded()


@pytest.mark.parametrize("cfg", ["yolov5s.yaml", "yolov5m.yaml"])
def test_weights_of_another_architecture_of_which_nothing_fits_are_an_error(
    commands: Commands, data: Path, published_weights: Path, cfg: str
) -> None:
    outcome = commands.train(data, "--weights", published_weights, "--cfg", cfg)
    line = outcome.error(
        4, "weights of another architecture, nothing fits in", str(published_weights), cfg.removesuffix(".yaml"),
        "model.0.conv.weight ([16, 3, 6, 6] in the file", "; choose the --cfg that these weights were trained with",
    )  # fmt: skip
    assert len(line) < 500


def test_weights_of_which_a_part_fits_are_transferred_with_a_warning(
    commands: Commands, data: Path, published_weights: Path
) -> None:
    outcome = commands.train(data, "--weights", published_weights, "--cfg", "yolov5n6.yaml", "--noval").succeeded()
    assert "warning: only 75 of 225 weights before the head fit: another architecture?" in outcome.lines
    assert any("transferred 161/459 entries" in line for line in outcome.starting("note"))


def test_best_pt_means_the_safetensors_beside_it_and_a_note_says_so(
    commands: Commands, tmp_path: Path, data: Path, published_weights: Path
) -> None:
    commands("convert", published_weights, tmp_path / "best.safetensors").succeeded()
    outcome = commands.detect(data.parent / "images" / "0.png", tmp_path / "best.pt").succeeded()
    assert f"note: {tmp_path}/best.pt does not exist; using {tmp_path}/best.safetensors" in outcome.lines


def test_a_release_that_cannot_be_fetched_says_what_to_do_by_hand(
    commands: Commands, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ACCEL_YOLO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights_module, "RELEASE_URL", "https://127.0.0.1:9/")
    monkeypatch.setattr(fetch, "BACKOFF_S", 0.01)
    outcome = commands.train(data, "--weights", "yolov5s.pt", "--cfg", "")
    outcome.error(4, "cannot fetch weights in yolov5s.pt: ", "; download https://", "by hand", "--weights ''")
    assert not list((tmp_path / "cache").rglob("yolov5s.pt*"))
    misspelt = commands.train(data, "--weights", "yolo5s.pt", "--cfg", "")
    misspelt.error(4, "no such weights file in yolo5s.pt; did you mean 'yolov5s.pt'?")


def test_converting_never_replaces_a_file(commands: Commands, tmp_path: Path, published_weights: Path) -> None:
    there = tmp_path / "there.safetensors"
    there.write_bytes(b"mine")
    commands.guarded += [there, published_weights]
    commands("convert", published_weights, there).error(4, "destination exists in", str(there), "; remove it")
    commands("convert", published_weights, "--to", "safetensors", tmp_path / "x.pt").error(
        2, "--to safetensors writes another kind of file in the destination", "x.pt; give a name that ends in .safetens"
    )
    commands("convert", published_weights, tmp_path / "x.onnx").error(
        2, "cannot convert to this kind of file in the destination", "x.onnx; give a name that ends in .safetensors or"
    )
    commands("convert", published_weights, there / "x.safetensors").error(7, "cannot write in", "; check space")
    commands("convert", published_weights).error(2, "nothing says what to convert to", "--to safetensors or yolov5-pt")
    commands("convert", published_weights, "--to", "yolov5-pt").error(4, "destination exists in", "yolov5n.pt; remove")
