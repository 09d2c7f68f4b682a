"""Fixtures that every test may use: recorded numbers, real images and weights."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before anything loads OpenMP: tests share few cores, and results depend on the number of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
from processes import run_in_processes
from sparse_images import write_sparse_data

from accel_yolo import console

# A suite that is started in the background inherits a Ctrl-C that is ignored, and so would every program of its tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Continuous integration judges a change, not luck: there the same examples come each time. Elsewhere new ones are
# tried. How long one takes says nothing on a shared machine.
hypothesis.settings.register_profile("ours", derandomize=bool(os.environ.get("ACCEL_YOLO_NO_SKIPS")), deadline=None)
hypothesis.settings.load_profile("ours")

REPOSITORY = Path(__file__).resolve().parents[1]


def _reference_folder() -> Path | None:
    named = os.environ.get("ACCEL_YOLO_REFERENCE")
    if named:
        return Path(named).resolve()
    beside = REPOSITORY.parent / "shared"
    return beside if (beside / "reference").is_dir() else None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Any:
    """Where everything a test could need is there (ACCEL_YOLO_NO_SKIPS, set by continuous integration), none skips."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("ACCEL_YOLO_NO_SKIPS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which counts as failed here: {report.longrepr}"


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


@pytest.fixture(autouse=True)
def _console_as_it_starts() -> Iterator[None]:
    """Undo what a test had the console of this process do: be quiet, say more, write to a file."""
    yield
    console.quiet(False)
    console.verbose(False)
    console.log_to(None)


@pytest.fixture(scope="session")
def run_processes() -> Callable[..., list[Any]]:
    """Return a function that runs a job in several processes of one world: see `processes.run_in_processes`."""
    return run_in_processes


@pytest.fixture(scope="session")
def sparse_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data YAML of 26 small images, three of four of them without objects (some shares of a batch are empty), every
    second object with an outline."""
    return write_sparse_data(tmp_path_factory.mktemp("sparse"))
