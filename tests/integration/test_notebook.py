"""The notebook runs from top to bottom in a fresh kernel and an empty folder, and is stored without outputs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"
ROOT = NOTEBOOK.parents[1]


def test_it_is_valid_and_stored_without_outputs() -> None:
    stored = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(stored)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert len(code) >= 6
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What each cell shows, by its id, after a run in an empty folder; an error in a cell is an error here."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("ACCEL_YOLO_DATASETS_DIR", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def text_of(outputs: list[Any]) -> str:
    return "".join(each.text if each.output_type == "stream" else each.data.get("text/plain", "") for each in outputs)


@pytest.mark.slow
def test_it_runs_and_shows_what_it_says(outputs: dict[str, list[Any]], tmp_path: Path) -> None:
    run = tmp_path / "runs" / "train" / "first"
    metrics = json.loads((run / "metrics.json").read_text())
    (table,) = [each.data["text/markdown"] for each in outputs["metrics"]]
    assert f"| **all** | {metrics['instances']} | {metrics['map50']:.3f} |" in table
    assert metrics["map50"] > 0.02, "twelve short epochs find something"
    for cell, kind in (("curves", "image/png"), ("worst", "image/jpeg"), ("predict", "image/png")):
        assert any(kind in each.get("data", {}) for each in outputs[cell]), cell
    assert ".jpg: " in text_of(outputs["predict"])
    assert (run / "weights" / "best.onnx").is_file()
    shown = text_of(outputs["onnx"])
    assert "torch was imported: False" in shown
    # Not the counts: a confidence that lies on the limit may be rounded to either side of it.
    assert shown.partition(": ")[0] == text_of(outputs["predict"]).partition(": ")[0], "the same picture was looked at"
