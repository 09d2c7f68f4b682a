"""Signals at any moment, to any process: one agreed step, a checkpoint, and an exit status that says who asked."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import Gone, run_until_gone
from stops import GRAIN, Ended, grain_config, leftovers, resumed, trained, trained_and_signalled
from warm_programs import run_program

Run = Callable[..., list[Any]]
AGREED = {
    "to the first": "update:0:6:term",
    "to the second": "forward:1:6:term",
    "to all": "exchange:*:6:term",
    "twice in a moment": "update:0:6:term,average:0:6:term",
    "while saving": "saving:0:*:term",
    "while the thread writes": "save write ema:0:*:term",
    "while it names the checkpoint": "save rename:0:*:term",
    "in a validation, to all": "validation:*:5:term",
    "in a validation, to the second": "validation:1:5:term",
    "while results are written": "results:0:5:term",
}
STOPPED_S = 5.0
"""How long a run may take from a signal to its end."""
FAST = ("to the second", "in a validation, to the second")


@pytest.mark.parametrize(
    "when", [when if when in FAST else pytest.param(when, marks=pytest.mark.slow) for when in AGREED]
)
def test_all_processes_stop_together_with_a_checkpoint(
    run_processes: Run, sparse_data: Path, tmp_path: Path, whole: Ended, when: str
) -> None:
    both = run_until_gone(2, trained, grain_config(sparse_data, tmp_path, save_every="2steps"), AGREED[when])
    assert [gone.code for gone in both] == [0, 0]
    first, second = (gone.value for gone in both)
    assert first == second, "the same step, the same words, nobody lost a peer"
    assert first.code == 75 and "stopped by SIGTERM in epoch" in first.line
    assert first.line.endswith(f"; start it as before, with --resume {tmp_path}/exp")
    step = int(first.line.partition("after step ")[2].partition(" ")[0])
    assert first.saved[-1] == f"step-{step:08d}"
    assert max(ended.ended_s for ended in (first, second)) - min(first.signalled_s, second.signalled_s) < STOPPED_S
    assert max(gone.after_s for gone in both) < STOPPED_S, "and they are gone"
    (ended,) = run_processes(1, trained, resumed(tmp_path / "exp"))
    assert ended.seen == whole.seen
    assert leftovers(tmp_path / "exp") == []


def test_a_signal_after_the_last_agreement_of_a_run_leaves_its_last_words_to_the_next_start(
    run_processes: Run, sparse_data: Path, tmp_path: Path, whole: Ended
) -> None:
    both = run_processes(2, trained, grain_config(sparse_data, tmp_path), "results:0:15:term")
    assert [ended.code for ended in both] == [75, 75]
    assert (
        "stopped by SIGTERM in epoch 3 of 3 after step 15 (update 15); start it as before, with --resume "
        in both[0].line
    )
    assert both[0].saved[-1] == "step-00000015-validated"
    assert not (tmp_path / "exp" / "metrics.json").exists()
    (ended,) = run_processes(1, trained, resumed(tmp_path / "exp"))
    assert ended.seen == whole.seen


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGUSR1, 75), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_the_exit_status_says_whether_a_person_asked(
    run_processes: Run, sparse_data: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    config = grain_config(sparse_data, tmp_path, epochs=50)
    both = run_processes(2, trained_and_signalled, config, number, (0.0,), "update:1:3:0.2")
    assert [ended.code for ended in both] == [code, code]
    word = "interrupted" if number == signal.SIGINT else "stopped"
    assert both[0].line.startswith(f"{word} by {number.name} in epoch ")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_second_signal_ends_a_process_at_once_even_when_it_hangs(
    sparse_data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    begun_s = time.monotonic()
    config = grain_config(sparse_data, tmp_path)
    (gone,) = run_until_gone(1, trained_and_signalled, config, number, (0.0, 0.5, 1.3), "forward:0:3:hang")
    assert (gone.code, gone.value) == (128 + number, None)
    assert time.monotonic() - begun_s < 60, "it would hang for an hour"


@pytest.mark.slow
def test_without_saving_a_run_is_saved_when_it_is_stopped(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    whole = run_processes(1, trained, grain_config(sparse_data, tmp_path, name="whole", nosave=True))[0]
    for name, fail, saved in (("steps", "update:0:6:term", 9), ("validation", "validation:0:5:term", 5)):
        config = grain_config(sparse_data, tmp_path, name=name, nosave=True)
        stopped = run_processes(1, trained, config, fail)[0]
        assert (stopped.code, stopped.saved) == (75, (f"step-{saved:08d}",))
        assert run_processes(1, trained, resumed(tmp_path / name))[0].seen == whole.seen


def test_before_the_loop_a_signal_ends_a_process_as_any_other(sparse_data: Path, tmp_path: Path) -> None:
    (gone,) = run_until_gone(1, signalled_before_the_loop, grain_config(sparse_data, tmp_path))
    assert gone == Gone(-signal.SIGTERM, None, 0.0)


def signalled_before_the_loop(config: Any) -> None:
    from accel_yolo.engine import train as loop

    loop.build_loaders = lambda *_: signal.raise_signal(signal.SIGTERM)
    trained(config)


@pytest.mark.parametrize(
    ("fault", "code", "word"), [("term", 75, "stopped by SIGTERM"), ("int", 130, "interrupted by SIGINT")]
)
def test_the_command_ends_with_one_line_and_that_status(
    sparse_data: Path, tmp_path: Path, fault: str, code: int, word: str
) -> None:
    words = [
        "train",
        "--data",
        sparse_data,
        "--cfg",
        GRAIN,
        "--weights",
        "",
        "--imgsz",
        "64",
        "--batch",
        "6",
        "--epochs",
        "3",
    ]
    words += ["--device", "cpu", "--workers", "0", "--noautoanchor", "--noplots", "--nominal-batch", "6", "--quiet"]
    ended = run_program(words, tmp_path, {"ACCEL_YOLO_FAIL": f"update:0:1:{fault}"})
    assert ended.returncode == code
    (line,) = (line for line in ended.stderr.splitlines() if "error" in line)
    assert line.startswith(f"error: {word} in epoch 1 of 3 after step 4 (update 4); continue with: ")
    assert line.endswith("train --resume runs/train/exp --device cpu")
    assert "Traceback" not in ended.stderr
