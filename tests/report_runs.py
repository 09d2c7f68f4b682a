"""Real runs for tests of reports: one that finished, one that was interrupted, one that was continued, an old one."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import clean_process, make_data
from filelock import FileLock
from jobs import Interrupted

from accel_yolo.cli import run
from accel_yolo.engine.saving import Checkpoints
from accel_yolo.engine.state import TrainState

HOSTILE = ("<script>alert(1)</script>", "\"quo'te]]>&amp;", "right\u202eleft\u2066 <b>", "{{ 7 * 7 }}")
"""Names of classes that would be markup, another order of letters, or a template."""
NAME = "a<img src=x onerror=alert(2)> \"b\" 'c'"
"""Of the run folder."""
WHOLE, INTERRUPTED, CONTINUED, OLD, MEASURED = "whole", "interrupted", "continued", "old", "measured"
_TINY = ("--imgsz", "64", "--batch", "4", "--workers", "0", "--device", "cpu", "--cfg", "yolov5n.yaml", "--weights", "")


@dataclass(frozen=True)
class ReportRuns:
    """Folders of runs, which no test changes."""

    root: Path

    def __getitem__(self, kind: str) -> Path:
        """Return the folder of a run by its kind."""
        return self.root / kind / NAME

    def copied(self, kind: str, to: Path) -> Path:
        """Return a copy of a run that may be changed."""
        return Path(shutil.copytree(self[kind], to / NAME))


def made_once(factory: pytest.TempPathFactory) -> ReportRuns:
    """Return the runs, made by the first process of the suite that asks for them."""
    base = factory.getbasetemp()
    # Workers of pytest-xdist have a folder each in that of the suite.
    root = (base.parent if base.name.startswith("popen-") else base) / "report_runs"
    with FileLock(str(root) + ".lock"):
        if not (root / "done").exists():
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir()
            _make(root)
            (root / "done").touch()
    return ReportRuns(root)


def _make(root: Path) -> None:
    data = make_data(root / "data", images=6)
    for number, labels in enumerate(sorted((root / "data" / "labels").iterdir())):
        labels.write_text(f"{number % len(HOSTILE)} 0.5 0.5 0.4 0.4\n{(number + 1) % len(HOSTILE)} 0.2 0.3 0.2 0.3\n")
    data.write_text(f"train: images\nval: images\nnames: {json.dumps(HOSTILE)}\n")
    both = ("--data", str(data), "--name", NAME)
    _typed("train", *_TINY, "--epochs", "2", *both, "--project", str(root / WHOLE))
    with _ending_after(1):
        _typed("train", *_TINY, "--epochs", "3", *both, "--project", str(root / INTERRUPTED), "--noplots")
    (root / INTERRUPTED / NAME / "failure.json").unlink(missing_ok=True)  # a process that is killed says nothing
    shutil.copytree(root / INTERRUPTED, root / CONTINUED)
    _typed("train", "--resume", str(root / CONTINUED / NAME), "--device", "cpu", "--workers", "0")
    shutil.copytree(root / WHOLE, root / OLD)
    for name in ("metrics.jsonl", "environment.json", "report.html"):
        (root / OLD / NAME / name).unlink()
    best = str(root / WHOLE / NAME / "weights" / "best.safetensors")
    _typed("val", "--imgsz", "64", "--device", "cpu", "--weights", best, *both, "--project", str(root / MEASURED))


def _typed(*words: str) -> None:
    """Run a command as it is typed."""
    cleaning = clean_process()
    next(cleaning)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), contextlib.suppress(Interrupted):
        code = run(words[0], list(words[1:]))
        assert code == 0, said.getvalue()
    next(cleaning, None)


@contextlib.contextmanager
def _ending_after(epochs: int) -> Iterator[None]:
    """Let trainings end as if they were killed when so many epochs are saved and validated."""
    original: Callable[..., None] = Checkpoints.finish_epoch

    def finish_epoch(checkpoints: Checkpoints, state: TrainState) -> None:
        original(checkpoints, state)
        if state.epoch == epochs:
            raise Interrupted

    Checkpoints.finish_epoch = finish_epoch
    try:
        yield
    finally:
        Checkpoints.finish_epoch = original
