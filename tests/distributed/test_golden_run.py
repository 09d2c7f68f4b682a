"""Sixty updates of a tiny training give the recorded losses: what changes every run alike is seen here.

After a wanted change, or for another release of torch: PYTHONPATH=.:tests python tests/distributed/test_golden_run.py
"""

from __future__ import annotations

import json
import platform
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from processes import run_in_processes
from sparse_images import write_sparse_data
from stops import STEPS, grain_config, trained

GOLDEN = Path(__file__).parents[1] / "reference" / "golden_run.json"
EPOCHS = 60 // STEPS


def computed_with() -> dict[str, str]:
    """Return what the last bit may depend on: libraries, and the processor whose instructions they choose from."""
    try:
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        about = ""
    model = [re.search(rf"^{name}\s*: (.*)$", about, re.MULTILINE) for name in ("vendor_id", "cpu family", "model")]
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "processor": " ".join(found[1] for found in model if found) or platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def current(run_processes: Callable[..., list[Any]], data: Path, folder: Path) -> dict[str, Any]:
    """Return the losses of each epoch and the digest of the last state, with the computed_with."""
    (ended,) = run_processes(1, trained, grain_config(data, folder, epochs=EPOCHS))
    losses = [[float(cell) for cell in row[1:4]] for row in ended.seen["rows"][1:]]
    return {"computed_with": computed_with(), "losses": losses, "sha256": ended.seen["digest"]}


@pytest.fixture(scope="module")
def found(run_processes: Callable[..., list[Any]], sparse_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the run gives now."""
    return current(run_processes, sparse_data, tmp_path_factory.mktemp("golden"))


def test_the_losses_are_those_recorded(found: dict[str, Any]) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert len(found["losses"]) == len(golden["losses"]) == EPOCHS
    # Another OpenCV scales images a little otherwise; another order of additions does not reach the digits shown.
    rel = 1e-4 if found["computed_with"] == golden["computed_with"] else 5e-3
    for epoch, (now, before) in enumerate(zip(found["losses"], golden["losses"], strict=True)):
        assert now == pytest.approx(before, rel=rel), f"epoch {epoch + 1}"


def test_where_all_is_as_it_was_every_bit_is(found: dict[str, Any]) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert found["computed_with"] != golden["computed_with"] or found["sha256"] == golden["sha256"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        said = current(run_in_processes, write_sparse_data(Path(place) / "data"), Path(place))
    GOLDEN.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
