"""What a user installs: from the wheel, in an empty folder, the demo trains."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from accel_yolo.models.weights import load_weights

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel in it; dependencies come from the environment of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    (site,) = environment.glob("lib/python*/site-packages")
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--prefix", str(environment),
         "--ignore-installed", str(wheel)],
        check=True,
    )  # fmt: skip
    # The wheel's own folder comes first on the path, so the checkout installed for development is not what runs.
    (site / "dependencies.pth").write_text("\n".join(dependencies))
    return environment / "bin"


@pytest.mark.slow
def test_the_demo_trains_from_an_installed_wheel_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    where = subprocess.run(
        [installed / "python", "-c", "import accel_yolo; print(accel_yolo.__file__)"],
        cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert str(installed.parent) in where
    done = subprocess.run(
        [installed / "python", "-m", "accel_yolo", "train", "--data", "demo", "--epochs", "1", "--imgsz", "64",
         "--workers", "1", "--device", "cpu"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    weights = load_weights(tmp_path / "runs" / "train" / "exp" / "weights" / "best.safetensors")
    assert weights.meta.names[0] == "circle"
    assert weights.meta.licence == "not stated"
    assert "<h1>" in (tmp_path / "runs" / "train" / "exp" / "report.html").read_text(), "its templates are in the wheel"
    assert (tmp_path / "datasets" / "demo" / "images").is_dir()
