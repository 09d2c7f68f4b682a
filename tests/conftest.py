"""Fixtures that every test may use: recorded numbers, real images and weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def _reference_folder() -> Path | None:
    named = os.environ.get("ACCEL_YOLO_REFERENCE")
    if named:
        return Path(named).resolve()
    beside = REPOSITORY.parent / "shared"
    return beside if (beside / "reference").is_dir() else None


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """The folder of real images, real weights and large recordings; named but missing is a failure, absent a skip."""
    folder = _reference_folder()
    if folder is None:
        pytest.skip("needs the reference folder (set ACCEL_YOLO_REFERENCE): real images and published weights")
    if not (folder / "data").is_dir():
        pytest.fail(f"ACCEL_YOLO_REFERENCE names {folder}, which has no data/ folder")
    return folder


@pytest.fixture(scope="session")
def published_weights(reference_dir: Path) -> Path:
    """The published yolov5n checkpoint."""
    return reference_dir / "data" / "yolov5n.pt"


@pytest.fixture(scope="session")
def coco128(reference_dir: Path) -> Path:
    """The data YAML of the 128 real images."""
    return reference_dir / "data" / "coco128.yaml"


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], Path]:
    """Return a function from the name of a small recorded file to its path."""
    return lambda name: REPOSITORY / "tests" / "reference" / name


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep derived files (indices, downloads, launcher defaults) of tests out of the user's home."""
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("ACCEL_YOLO_CACHE", str(base / "cache"))
    monkeypatch.setenv("HF_HOME", str(base / "hf"))
