"""A TorchScript file is a program: only one made of a detector's operations is loaded."""

from __future__ import annotations

import shutil
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from accel_yolo.errors import CheckpointError
from accel_yolo.export.request import ExportRequest
from accel_yolo.export.torchscript import write_torchscript
from accel_yolo.inference.networks import load_network
from accel_yolo.inference.runtimes.kinds import exported_kind
from accel_yolo.inference.runtimes.torchscript_program import require_harmless
from accel_yolo.models.weights_meta import WeightsMeta
from accel_yolo.models.zoo import build_detector, model_spec

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def detector_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("torchscript") / "tiny.torchscript"
    detector = build_detector(model_spec("yolov5n"), {0: "cat", 1: "dog"}, seed=0)
    write_torchscript(ExportRequest(detector, WeightsMeta.of(detector, 64, "made"), hw=(64, 64)), path)
    return path


class ReadsFiles(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images + torch.from_file("/etc/passwd", False, 4)


class Prints(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        print("here")
        return images


class Doubles(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images * 2


def scripted(module: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(str(path))
    return path


def test_a_detector_is_known_by_its_content_and_runs(detector_file: Path, tmp_path: Path) -> None:
    renamed = Path(shutil.copy(detector_file, tmp_path / "model.pt"))
    assert exported_kind(renamed) == "torchscript"
    network = load_network([str(renamed)], CPU)
    assert (network.names, network.strides, network.fixed_hw) == ({0: "cat", 1: "dog"}, (8, 16, 32), None)
    with torch.inference_mode():
        assert network(torch.zeros(3, 3, 64, 96)).shape == (3, 3 * (8 * 12 + 4 * 6 + 2 * 3), 7)


@pytest.mark.parametrize(("module", "operation"), [(ReadsFiles(), "torch.from_file"), (Prints(), "print")])
def test_a_program_with_other_operations_is_not_loaded(module: nn.Module, operation: str, tmp_path: Path) -> None:
    path = scripted(module, tmp_path / "other.torchscript")
    with pytest.raises(CheckpointError, match=f"a program with an unknown operation in .*: {operation}; only"):
        load_network([str(path)], CPU)


def test_hidden_operations_are_found_too(detector_file: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(detector_file, tmp_path / "x.torchscript"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tiny/CODE/more.PY", "def f(x):\n    return torch.save(x)\n")
    with pytest.raises(CheckpointError, match="torch.save"):
        require_harmless(path)
    path = Path(shutil.copy(detector_file, tmp_path / "y.torchscript"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tiny/model.json", "{}")
    with pytest.raises(CheckpointError, match="of an old kind"):
        require_harmless(path)


@pytest.mark.parametrize(("line", "operation"), [
    ("return x.random_()", r"x\.random_"),
    ("return x.set_(x)", r"x\.set_"),
    ("return x.resize_([1 << 40])", r"x\.resize_"),
    ("return (x.add(x)).random_()", r"x\.add\(x\)\.random_"),
    ("return annotate(Tensor, x).random_()", r"annotate\(Tensor, x\)\.random_"),
    ("return getattr(x, 'random_')()", r"getattr\(x, 'random_'\)"),
    ("t = torch\n    return t.save(x, 'here')", r"t\.save"),
    ("len = torch.save\n    return len(x, 'here')", "len = "),
    ("ops = torch\n    return x", "ops = "),
])  # fmt: skip
def test_an_operation_is_found_as_a_method_and_under_another_name(
    line: str, operation: str, detector_file: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(detector_file, tmp_path / "x.torchscript"))
    with zipfile.ZipFile(path, "a") as archive:
        # A function of its own with the name of an operation does not make the operation harmless.
        archive.writestr(
            "tiny/code/more.py", f"def random_(x):\n  return x\ndef save(x):\n  return x\ndef f(x):\n    {line}\n"
        )
    with pytest.raises(CheckpointError, match=f"unknown operation in .*: {operation}"):
        require_harmless(path)


def test_a_real_program_of_tensor_methods_is_not_run(tmp_path: Path) -> None:
    path = scripted(Doubles(), tmp_path / "x.torchscript")
    changed = tmp_path / "changed.torchscript"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_STORED) as new:
        for item in old.infolist():
            content = old.read(item)
            new.writestr(item.filename, content.replace(b"torch.mul(images, 2)", b"images.random_()"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(str(changed))(torch.zeros(2))  # torch itself does run it
    with pytest.raises(CheckpointError, match=r"unknown operation in .*: images\.random_"):
        load_network([str(changed)], CPU)


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04 torn"])
def test_a_damaged_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "torn.torchscript"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="TorchScript file in .*torn"):
        load_network([str(path)], CPU)


def test_a_truncated_file_is_one_line(detector_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.torchscript"
    path.write_bytes(detector_file.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="damaged TorchScript file"):
        load_network([str(path)], CPU)
