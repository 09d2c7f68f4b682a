"""Processes that answer questions about files: from any process, to the end of whoever asks, or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from accel_yolo.data import file_states
from accel_yolo.data.clerks import Clerks

MODULE = file_states.__name__


def test_answers_come_in_the_order_of_the_questions_and_equal_those_of_this_process(tmp_path: Path) -> None:
    questions = []
    for number in range(20):
        file = tmp_path / f"{number}.jpg"
        file.write_bytes(bytes(number))
        questions.append(b"yolo\0" + os.fsencode(str(file)))
    with Clerks(2, MODULE) as clerks:
        assert list(clerks.answers(questions)) == [file_states.answer(question) for question in questions]


def test_when_the_processes_end_the_questions_are_answered_here() -> None:
    with Clerks(2, MODULE) as clerks:
        for clerk in clerks._started:
            assert clerk is not None
            clerk.kill()
        assert list(clerks.answers([b"yolo\0/a", b"yolo\0/b", b"yolo\0/c"])) == [file_states.answer(b"yolo\0/a")] * 3


def test_when_none_can_be_started_the_questions_are_answered_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Clerks(2, MODULE) as clerks:
        assert len(list(clerks.answers([b"yolo\0/a", b"yolo\0/b"]))) == 2


def test_an_error_in_answering_here_is_raised_where_the_answer_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(file_states, "answer", {b"known": b"!"}.__getitem__)
    with Clerks(1, MODULE) as clerks:
        answers = clerks.answers([b"known", b"unknown", b"known"])
        assert next(answers) == b"!"
        with pytest.raises(KeyError, match="unknown"):
            next(answers)


def test_those_that_nobody_waits_for_any_more_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    asked: list[bytes] = []
    monkeypatch.setattr(file_states, "answer", lambda question: asked.append(question) or time.sleep(0.01) or b"!")
    with Clerks(1, MODULE) as clerks:
        next(clerks.answers([b"?"] * 1000))
    assert len(asked) < 1000


def test_nothing_is_left_running() -> None:
    with Clerks(3, MODULE) as clerks:
        started = [clerk for clerk in clerks._started if clerk is not None]
    assert all(clerk.returncode is not None for clerk in started)


INDEXING = """
import multiprocessing, sys
from pathlib import Path
from accel_yolo.data import scan
from accel_yolo.data.formats.record import LabelRules

def index(folder):
    scan.FEW_IMAGES = 10
    paths = sorted(str(path) for path in Path(folder).iterdir())
    rules = LabelRules(("a",), False)
    parts, problems = scan.scan(paths, rules, workers=2, stop_at_first=False, title="x")
    print(sum(len(part.paths) for part in parts), len(problems), flush=True)
"""
UNGUARDED = INDEXING + "index(sys.argv[1])\n"
IN_A_DAEMON = (
    INDEXING
    + """
if __name__ == "__main__":
    process = multiprocessing.get_context(sys.argv[2]).Process(target=index, args=(sys.argv[1],), daemon=True)
    process.start()
    process.join()
"""
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    content = cv2.imencode(".jpg", np.zeros((20, 20, 3), np.uint8))[1].tobytes()
    for number in range(300):
        (folder / f"{number:03d}.jpg").write_bytes(content if number else b"")
    return folder


@pytest.mark.parametrize("how", ["a script without a guard", "fork", "spawn", "forkserver"])
def test_an_index_is_built_in_a_process_of_any_kind(tmp_path: Path, images: Path, how: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(IN_A_DAEMON if "fork" in how or how == "spawn" else UNGUARDED)
    command = [sys.executable, str(script), str(images), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == "299 1\n", done.stderr
    assert "Traceback" not in done.stderr


WAITING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite that runs in the background hands on an ignored one
from accel_yolo.data.clerks import Clerks
with Clerks(2, "slow_answers") as clerks:
    print(*[clerk.pid for clerk in clerks._started], flush=True)
    list(clerks.answers([b"?"] * 100_000))  # it is interrupted while it asks, or while it waits
"""


@pytest.fixture
def waiting(tmp_path: Path) -> subprocess.Popen[str]:
    """A program that waits for two processes, which take a minute to answer, in a session of its own."""
    (tmp_path / "slow_answers.py").write_text("import time\ndef answer(question):\n    time.sleep(60)\n")
    (tmp_path / "script.py").write_text(WAITING)
    command = [sys.executable, str(tmp_path / "script.py")]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
    except OSError:
        return False


def assert_gone(pids: list[int]) -> None:
    deadline_s = time.monotonic() + 20
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline_s, pids
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGTERM"])
def test_they_end_with_whoever_asks(waiting: subprocess.Popen[str], signal_name: str) -> None:
    assert waiting.stdout is not None
    pids = [int(pid) for pid in waiting.stdout.readline().split()]
    waiting.send_signal(getattr(signal, signal_name))
    waiting.communicate(timeout=30)
    assert_gone(pids)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_ctrl_c_ends_them_and_only_the_program_speaks(waiting: subprocess.Popen[str]) -> None:
    assert waiting.stdout is not None
    pids = [int(pid) for pid in waiting.stdout.readline().split()]
    os.killpg(waiting.pid, signal.SIGINT)
    _, errors = waiting.communicate(timeout=30)
    assert_gone(pids)
    assert waiting.returncode == -signal.SIGINT
    assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == 1
