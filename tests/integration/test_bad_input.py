"""Bad input at the real command line, in processes of their own: one line, an exit code, nothing else."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from commands import digest_of, make_data

ROOT = Path(__file__).resolve().parents[2]


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Return what a Python command line answers in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


class Hostile:
    """Pickles as a call that would leave a file behind."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch canary",)


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (f"{ROOT}/train.py --imgsz 64 --data data/data.yaml --hyp hyp.yaml --cfg yolov5n.yaml --weights=", 2,
         "error: unknown key in hyp.yaml:1, key 'lr'; did you mean 'lrf'?\n"),
        (f"{ROOT}/train.py --data empty.yaml --cfg yolov5n.yaml --weights= --device cpu", 3,
         "error: empty data YAML in empty.yaml; it needs train, val and names\n"),
        (f"{ROOT}/val.py --data data/data.yaml --weights hostile.pt --device cpu --quiet", 4,
         "error: forbidden name in the pickle in hostile.pt: posix.system; refused: the file asks for something that a "
         "YOLOv5 checkpoint does not hold; nothing was executed\n"),
        (f"{ROOT}/detect.py --source data/images --weights zero.pt --device cpu", 4,
         "error: empty file in zero.pt; get the file again\n"),
        ("-m accel_yolo convert hostile.pt data/data.safetensors", 4,
         "error: forbidden name in the pickle in hostile.pt: posix.system; refused: the file asks for something that a "
         "YOLOv5 checkpoint does not hold; nothing was executed\n"),
    ],
    ids=["train, settings", "train, data", "val", "detect", "convert"],
)  # fmt: skip
def test_an_error_is_exactly_one_line_and_nothing_is_executed_or_written(
    tmp_path: Path, words: str, code: int, line: str
) -> None:
    make_data(tmp_path / "data")
    (tmp_path / "hyp.yaml").write_text("lr: 0.1\n")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "zero.pt").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "hostile.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"model": Hostile()}, 2))
    before = digest_of(tmp_path)
    answer = typed(tmp_path, *words.split())
    assert (answer.returncode, answer.stderr, answer.stdout) == (code, line, "")
    runs = tmp_path / "runs"
    assert not runs.exists()
    assert digest_of(tmp_path) == before
