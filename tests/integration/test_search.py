"""`accel-yolo tune` as it is typed: real trainings, interrupted and continued."""

from __future__ import annotations

import contextlib
import csv
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from commands import Commands, Outcome

from accel_yolo.config.hyp_file import read_hyp_file

ROOT = Path(__file__).resolve().parents[2]
TINY = (
    "--weights=", "--cfg", "yolov5n.yaml", "--imgsz", "64", "--batch", "8", "--nominal-batch", "8", "--workers", "0",
    "--device", "cpu", "--noautoanchor", "--warmup-min-steps", "0",
)  # fmt: skip
PATIENCE_S = 120
HEEDING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite that runs in the background hands on an ignored one
from accel_yolo.cli import main
sys.exit(main())
"""


def words(data: Path, study: Path, trials: int, epochs: int, *more: str) -> list[str]:
    own = ["--trials", str(trials), "--study", str(study), "--epochs", str(epochs), "--data", str(data)]
    return [*own, *TINY, "--search", "lr0", "fliplr", *more]


def table(study: Path) -> list[dict[str, str]]:
    with (study / "trials.csv").open() as stream:
        return list(csv.DictReader(stream))


def epochs_of(study: Path, number: int) -> list[int]:
    rows = (study / "trials" / f"{number:04d}" / "results.csv").read_text().splitlines()[1:]
    return [int(row.split(",")[0]) for row in rows]


@pytest.mark.slow
def test_a_search_ends_with_a_table_a_picture_and_a_recipe_that_trains(commands: Commands, data: Path) -> None:
    study = commands.project / "study"
    first = commands("tune", *words(data, study, 2, 1)).succeeded()
    assert "Trial 0 (1 of 2): the starting recipe" in first.out and "2 trials: 2 complete" in first.out
    rows = table(study)
    assert [(row["number"], row["state"]) for row in rows] == [("0", "complete"), ("1", "complete")]
    assert (rows[0]["lr0"], rows[0]["fliplr"]) == ("0.01", "0.5"), "the starting recipe"
    assert rows[1]["lr0"] != "0.01"
    best = max(rows, key=lambda row: (float(row["fitness"]), -int(row["number"])))
    recipe = read_hyp_file(study / "hyp.yaml")
    assert {name: str(value) for name, value in recipe.items()} == {name: best[name] for name in recipe}
    assert cv2.imread(str(study / "tune.png")) is not None
    kept = [path.parent.parent.name for path in study.glob("trials/*/weights/best.safetensors")]
    assert kept == [f"{int(best['number']):04d}"] and not list(study.glob("trials/*/checkpoints"))
    assert not [path for kind in ("png", "jpg") for path in study.glob(f"trials/**/*.{kind}")]
    # What it says to type next works.
    line = next(line for line in first.out.splitlines() if " train " in line)
    again = shlex.split(line[line.index(" train ") + len(" train ") :])
    commands("train", *again, "--project", commands.project, "--name", "next").succeeded()
    assert (commands.project / "next" / "results.png").is_file()


@pytest.mark.parametrize(
    ("line", "code", "parts"),
    [
        ("--data nowhere.yaml", 3, ("no such data file", "--data", "nowhere.yaml")),
        ("--search learning_rate", 2, ("wrong value", "--search", "learning_rate")),
        ("--population nowhere --data demo", 2, ("no hyper-parameter files", "--population", "nowhere")),
        ("--noautoanchor --search anchors --data demo", 2, ("anchors", "--noautoanchor")),
        ("--config-file 2x4gpu.yaml --data demo", 2, ("2x4gpu.yaml",)),
    ],
)
def test_wrong_use_is_one_line_before_anything_begins(
    commands: Commands, line: str, code: int, parts: tuple[str, ...]
) -> None:
    study = commands.project / "study"
    commands("tune", "--study", study, *line.split()).error(code, *parts)
    assert not study.exists()


def test_without_optuna_it_says_how_to_get_it(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)  # importing it fails
    study = commands.project / "study"
    commands("tune", "--study", study, "--data", "demo").error(2, "needs Optuna", "pip install 'accel-yolo[tune]'")
    assert not study.exists()


class Worker:
    """A process that works on a study, in a shell of its own."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self.log = folder / f"worker-{time.monotonic_ns()}.txt"
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with self.log.open("wb") as stream:
            command = [sys.executable, "-c", HEEDING, *arguments]
            self.process = subprocess.Popen(command, cwd=folder, env=variables, stdout=stream, stderr=stream)

    @property
    def text(self) -> str:
        """What it has written."""
        return self.log.read_text(errors="replace")

    def end(self) -> int:
        """Wait for the end and return the exit status."""
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def working(folder: Path, arguments: list[str]) -> Iterator[Worker]:
    worker = Worker(folder, arguments)
    try:
        yield worker
    finally:
        worker.process.kill()
        worker.process.wait()


def await_epochs(study: Path, number: int, count: int, worker: Worker) -> None:
    """Wait until a trial has a checkpoint of its epoch `count`."""
    begin = time.monotonic()
    while not (study / "trials" / f"{number:04d}" / "results.csv").is_file() or len(epochs_of(study, number)) < count:
        assert worker.process.poll() is None, worker.text
        assert time.monotonic() - begin < PATIENCE_S, worker.text
        time.sleep(0.02)


def await_training(study: Path, worker: Worker) -> None:
    """Wait until a trial is being trained."""
    begin = time.monotonic()
    while not trainings(study):
        assert worker.process.poll() is None, worker.text
        assert time.monotonic() - begin < PATIENCE_S, worker.text
        time.sleep(0.02)


def trainings(study: Path) -> list[int]:
    """Return the processes that train in a study."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"train" in words and any(os.fsencode(study / "trials") in word for word in words):
                found.append(int(entry.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the training of a killed worker")
def test_a_study_interrupted_and_continued_by_two_processes_loses_no_trial_and_repeats_none(
    sparse_data: Path, tmp_path: Path
) -> None:
    study, trials, epochs = tmp_path / "study", 2, 5
    arguments = ["tune", *words(sparse_data, study, trials, epochs, "--no-prune")]
    with working(tmp_path, arguments) as worker:
        await_epochs(study, 0, 2, worker)
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait()
    begin = time.monotonic()
    while trainings(study):
        assert time.monotonic() - begin < 10, "the training outlives its worker"
        time.sleep(0.02)
    done = len(epochs_of(study, 0))
    assert 2 <= done < epochs, "it was interrupted in the middle"
    with working(tmp_path, arguments) as first, working(tmp_path, arguments) as second:
        assert (first.end(), second.end()) == (0, 0), first.text + second.text
    text = first.text + second.text
    assert [(row["number"], row["state"]) for row in table(study)] == [(str(n), "complete") for n in range(trials)]
    for number in range(trials):
        assert epochs_of(study, number) == list(range(epochs))
        assert text.count(f"Trial {number} (") == 1, "one of the two has trained it, once"
    log = (study / "trials" / "0000" / "output.txt").read_text()
    assert text.count("goes on where another process left it") == 1 and log.count("Resuming ") == 1
    assert "Continuing after" in log, "resumed, not begun again"
    values = [(row["lr0"], row["fliplr"]) for row in table(study)]
    assert len(set(values)) == trials


@pytest.mark.slow
def test_an_interrupted_search_says_how_to_continue_and_that_command_does(sparse_data: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    arguments = ["tune", *words(sparse_data, study, 1, 4, "--no-prune")]
    for number, code, word in ((signal.SIGTERM, 143, "stopped by SIGTERM"), (signal.SIGINT, 130, "interrupted")):
        with working(tmp_path, arguments) as worker:
            await_epochs(study, 0, 1, worker)  # there at once the second time
            await_training(study, worker)
            worker.process.send_signal(number)
            assert worker.end() == code, worker.text
        assert not trainings(study)
        last = worker.text.splitlines()[-1]
        assert last.startswith(f"error: {word}; trial 0 is kept; continue with: ")
        assert "Traceback" not in worker.text
        arguments = ["tune", *shlex.split(last.partition(" tune ")[2])]
    with working(tmp_path, arguments) as again:
        assert again.end() == 0, again.text
    assert epochs_of(study, 0) == list(range(4)) and "goes on where" in again.text


@pytest.mark.slow
def test_a_mistake_ends_the_search_at_once_and_a_later_failure_is_one_failed_trial(
    commands: Commands, data: Path
) -> None:
    study = commands.project / "study"
    wrong = commands("tune", *words(data, study, 3, 1), "--freeze", "99")
    wrong.error(2, "--freeze", "99")
    assert not (study / "trials.csv").exists(), "one training has met it, and it is nobody's result"
    # With the mistake mended the same study begins.
    mended = commands("tune", *words(data, study, 1, 1)).succeeded()
    assert "1 trial: 1 complete" in mended.out
    # From now on the settings are known to be good, and the search does not end because one training does.
    commands.guarded.clear()
    (data.parent / "images").rename(data.parent / "moved")
    outcome: Outcome = commands("tune", *words(data, study, 2, 1)).succeeded()
    (data.parent / "moved").rename(data.parent / "images")
    assert [row["state"] for row in table(study)] == ["complete", "failed"]
    assert table(study)[1]["error"] and "trial 1 failed: " in outcome.err
    assert "2 trials: 1 complete, 1 failed" in outcome.out
    commands("tune", *words(data, study, 2, 2)).error(2, "begun with something else", "--epochs: 2", "with 1")


@pytest.mark.slow
def test_what_the_next_trial_would_meet_too_ends_the_search_and_keeps_the_trial(
    commands: Commands, data: Path, tmp_path: Path
) -> None:
    study = commands.project / "study"
    commands("tune", *words(data, study, 1, 1)).succeeded()
    nowhere = commands("tune", *words(data, study, 2, 1, "--cache", "--cache-dir", "/proc/nowhere"))
    nowhere.error(7, "/proc/nowhere", "trial 1 is kept", "continue with: ", "tune ")
    assert [row["state"] for row in table(study)] == ["complete"]
    again = commands("tune", *words(data, study, 2, 1, "--cache", "--cache-dir", str(tmp_path))).succeeded()
    assert "2 trials: 2 complete" in again.out
