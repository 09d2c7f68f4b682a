"""A process that hangs, stops, dies or leaves is named with its place, and nothing is left running.

The processes are started as a scheduler starts them: no launcher looks after them.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from watched import Watched, begin, train_words

from accel_yolo.engine.beats import BEAT_S
from accel_yolo.engine.heartbeat import READ_EVERY

HOST = socket.gethostname()
TIMEOUT_S, GONE_S = 4, 25.0


@pytest.fixture
def train(sparse_data: Path, tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    """Return a function that starts a training in which a fault happens; at the end nothing of it is left."""
    started: list[Watched] = []

    def start(size: int, fault: str, *more: str) -> Watched:
        words = train_words(sparse_data, tmp_path, "--collective-timeout", str(TIMEOUT_S), *more)
        started.append(begin(size, words, tmp_path, ACCEL_YOLO_FAIL=fault))
        return started[-1]

    yield start
    for run in started:
        run.end_all()


def the_error(run: Watched, rank: int, *parts: str) -> str:
    """Return the one error line of a run after checking that a process says it, with these parts in order."""
    assert len(run.errors()) == 1, run.text()
    (line,) = run.errors()
    assert run.errors(rank) == [line], run.text()
    assert re.search(".*".join(map(re.escape, parts)), line), run.text()
    return line


def hung_for(line: str) -> int:
    found = re.search(r"since step \d+, (\d+) s", line)
    assert found, line
    return int(found[1])


HANGS = {
    "data:1:4:hang": "data loading since step 4",
    "exchange:1:5:stop": " (it does not even run: stopped, or without a processor)",
    "forward:0:5:stop": " since step ",
    "forward:1:6:hang": "the forward pass since step 6",
    "agreement:0:6:hang": "the agreement on the next step since step 6",
}
QUICK = "data:1:4:hang"


@pytest.mark.parametrize(
    "fault", [QUICK, *(pytest.param(fault, marks=pytest.mark.slow) for fault in HANGS if fault != QUICK)]
)
def test_a_process_that_hangs_is_named_with_its_place_and_all_are_gone(
    train: Callable[..., Watched], fault: str
) -> None:
    culprit = int(fault.split(":")[1])
    run = train(2, fault)
    if fault.endswith("stop"):
        run.until(lambda: psutil.Process(run.pid(culprit)).status() == psutil.STATUS_STOPPED)
        stopped_at = time.monotonic()
        run.until(run.errors)
        assert TIMEOUT_S - 1 <= time.monotonic() - stopped_at <= TIMEOUT_S + 5
    run.until(run.errors)
    said_at = time.monotonic()
    codes = run.ends(10)
    assert time.monotonic() - said_at < 10
    assert codes[1 - culprit] == 5 and codes[culprit] == -9
    line = the_error(run, 1 - culprit, f"error: process {culprit} on machine 0 ({HOST}) hangs in ", HANGS[fault])
    # Who does not run says nothing of its own place: its last word was heard up to so long before.
    heard_before_s = READ_EVERY * BEAT_S + 1 if fault.endswith("stop") else 0
    assert TIMEOUT_S - 1 <= hung_for(line) <= TIMEOUT_S + 5 + heard_before_s
    assert run.failure["rank"] == culprit and run.failure["host"] == HOST and run.failure["exit_code"] == 5
    assert run.failure["pid"] == run.pid(culprit)
    for rank in (0, 1):
        assert "most recent call first" in (run.folder / f"stacks-{rank}.txt").read_text()
    if fault.endswith("hang"):
        assert "in _happen" in (run.folder / f"stacks-{culprit}.txt").read_text(), "where it sleeps"


def test_of_several_that_wait_one_speaks_and_names_the_one_that_does_not(train: Callable[..., Watched]) -> None:
    run = train(3, "data:2:1:hang")
    codes = run.ends(120)
    assert codes == [5, 5, -9]
    (line,) = run.errors()
    assert f"process 2 on machine 0 ({HOST}) hangs in data loading since step 1" in line
    (details,) = (text for text in (run.text(0), run.text(1)) if "error: " in text)
    assert (
        f"\n  process     2 of 3, pid {run.pid(2)} on machine 0 ({HOST})\n  place       data loading, step 1\n"
        in details
    )
    assert f"--resume {run.folder}" not in details, "there is no checkpoint yet"


@pytest.mark.slow
@pytest.mark.parametrize("point", ["validation", "saving"])
def test_a_hang_while_others_are_done_is_named_too(train: Callable[..., Watched], point: str) -> None:
    """Beats do not stop while checkpoints are written or detections are computed."""
    run = train(2, f"{point}:1:*:hang" if point == "validation" else f"{point}:0:*:hang")
    culprit = 1 if point == "validation" else 0
    codes = run.ends(120)
    assert sorted(codes, key=str) == [-9, 5]
    the_error(run, 1 - culprit, f"process {culprit} on machine 0 ({HOST}) hangs in {point}")


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "code"), [("forward:1:9:kill", -9), ("forward:1:9:exit0", 0)])
def test_a_process_that_is_gone_is_named_by_those_that_miss_it(
    train: Callable[..., Watched], fault: str, code: int
) -> None:
    run = train(2, fault)
    assert run.ends(120) == [5, code]
    the_error(run, 0, f"process 1 on machine 0 ({HOST}) ended without a word; its last word came from ")
    assert (run.failure["exit_code"], run.failure["rank"], run.failure["pid"]) == (5, 1, run.pid(1))
    assert not any(path.stat().st_size for path in run.folder.glob("stacks-*")), "nobody hangs"


@pytest.mark.slow
def test_those_that_miss_a_process_leave_the_word_to_it(train: Callable[..., Watched]) -> None:
    run = train(2, "forward:1:9:raise")
    assert run.ends(120) == [5, 1]
    assert run.errors() == [] and "RuntimeError: asked for at forward" in run.text(1)
    assert (run.failure["exit_code"], run.failure["rank"], run.failure["step"]) == (1, 1, 9)
    assert run.failure["message"] == "RuntimeError: asked for at forward"


@pytest.mark.slow
def test_a_slow_process_is_a_warning_once_and_no_error(train: Callable[..., Watched]) -> None:
    faults = ",".join(f"data:1:{step}:6" for step in range(1, 7))
    run = train(2, faults, "--collective-timeout", "30")
    assert run.ends(180) == [0, 0]
    warnings = [line for line in run.text().splitlines() if "is slow" in line]
    assert len(warnings) == 1, run.text()
    assert re.search(
        rf"warning: process 1 on machine 0 \({re.escape(HOST)}\) is slow, and all others wait for it: "
        r"\d+ s of own work in \d+ s, the others \d+ s; \d\d% of it in data loading",
        warnings[0],
    )


def test_a_process_that_is_alone_and_stands_still_says_where(train: Callable[..., Watched]) -> None:
    run = train(1, f"data:0:4:{TIMEOUT_S + 2}")
    assert run.ends(60) == [0] and not run.errors()
    start = "warning: nothing moves: data loading since step 4, for "
    (warning,) = [line for line in run.text().splitlines() if line.startswith(start)]
    assert re.match(start + r"\d+ s; what each thread does is in ", warning)
    assert warning.endswith(f"is in {run.folder / 'stacks-0.txt'}")
    assert "in _happen" in (run.folder / "stacks-0.txt").read_text(), "where it sleeps"
