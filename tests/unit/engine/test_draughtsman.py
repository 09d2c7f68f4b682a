"""The drawing process: beside the run, never before it, and no harm to it whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import drawings
import pytest

from accel_yolo.engine import draughtsman
from accel_yolo.engine.draughtsman import Draughtsman


def pid_of(drawer: Draughtsman) -> int:
    assert drawer._process is not None
    return drawer._process.pid


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
    except OSError:
        return False


def test_drawings_are_made_in_order_elsewhere_and_told_of_once(tmp_path: Path) -> None:
    drawer = Draughtsman()
    assert drawer.is_idle and drawer.finished() == []
    odd = tmp_path / os.fsdecode(b"\xff b\n.txt")
    drawer.ask(drawings.describe_process, tmp_path / "a.txt")
    drawer.ask(drawings.draw, odd, "second")
    drawer.wait()
    assert drawer.is_idle and not drawer.failure
    assert drawer.finished() == [tmp_path / "a.txt", odd]
    assert drawer.finished() == []
    nice = os.nice(0) + draughtsman._LOW_PRIORITY
    assert (tmp_path / "a.txt").read_text() == f"{os.getpid()} {min(nice, 19)} 1 1 True False"
    assert 0 < drawer.spent_s < 60


def test_asking_does_not_wait_for_a_process_that_does_not_listen(tmp_path: Path) -> None:
    drawer = Draughtsman()
    os.kill(pid_of(drawer), signal.SIGSTOP)
    started = time.perf_counter()
    drawer.ask(drawings.draw, tmp_path / "a.txt", bytes(100_000_000))
    assert not drawer.is_idle and drawer.finished() == []
    assert time.perf_counter() - started < 10
    os.kill(pid_of(drawer), signal.SIGCONT)
    drawer.wait()
    assert (tmp_path / "a.txt").read_text() == "100000000"


def test_what_cannot_be_drawn_is_told_and_the_rest_is_drawn(tmp_path: Path) -> None:
    drawer = Draughtsman()
    drawer.ask(drawings.fail_as_user)
    drawer.ask(drawings.fail_as_we_do)
    drawer.ask(drawings.draw, tmp_path / "a.txt")
    drawer.wait()
    assert drawer.failure == "image cannot be read in a.jpg"
    assert drawer.finished() == [tmp_path / "a.txt"]


def test_any_error_is_one_line() -> None:
    drawer = Draughtsman()
    drawer.ask(drawings.fail_as_we_do)
    drawer.wait()
    assert drawer.failure == "ValueError: two lines"


def test_a_process_that_dies_is_a_failure_and_nothing_more(tmp_path: Path) -> None:
    drawer = Draughtsman()
    drawer.ask(drawings.die)
    drawer.ask(drawings.draw, tmp_path / "a.txt")
    drawer.wait()
    drawer.ask(drawings.draw, tmp_path / "a.txt")
    assert drawer.is_idle and drawer.failure == "the process is gone"
    assert not (tmp_path / "a.txt").exists()


def test_a_process_that_cannot_be_started_is_a_failure_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    drawer = Draughtsman()
    drawer.ask(drawings.draw, tmp_path / "a.txt")
    drawer.wait()
    assert drawer.is_idle and drawer.failure == "the process could not be started"


def test_where_no_file_can_be_handed_over_nothing_is_started_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(draughtsman.socket, "send_fds")  # as on Windows
    drawer = Draughtsman()
    assert drawer._process is None
    drawer.ask(drawings.draw, tmp_path / "a.txt")
    drawer.wait()
    drawer.close()
    assert drawer.is_idle and drawer.finished() == [] and not (tmp_path / "a.txt").exists()
    assert drawer.failure == "pictures of a run are drawn on Linux and macOS only"


def test_a_drawing_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draughtsman, "LONGEST_DRAWING_S", 0.5)
    drawer = Draughtsman()
    drawer.ask(drawings.never_end)
    pid = pid_of(drawer)
    drawer.wait()
    assert "it took more than" in drawer.failure and not is_running(pid)


def test_a_signal_to_all_processes_is_left_to_the_run(tmp_path: Path) -> None:
    drawer = Draughtsman()
    drawer.ask(drawings.draw, tmp_path / "a.txt")
    drawer.wait()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        os.kill(pid_of(drawer), number)
    drawer.ask(drawings.draw, tmp_path / "b.txt")
    drawer.wait()
    assert (drawer.finished(), drawer.failure) == ([tmp_path / "a.txt", tmp_path / "b.txt"], "")
    drawer.close()


def test_nothing_is_left_running(tmp_path: Path) -> None:
    drawer = Draughtsman()
    drawer.ask(drawings.never_end)
    pid = pid_of(drawer)
    drawer.close()
    assert not is_running(pid)


PARENT = """
import signal, time
import drawings
from accel_yolo.engine.draughtsman import Draughtsman
drawer = Draughtsman()
drawer.ask(drawings.never_end)
print(drawer._process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_the_process_that_asks(end: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.send_signal(end)
    deadline_s = time.monotonic() + 20
    while is_running(pid):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
