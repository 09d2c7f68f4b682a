"""A run folder belongs to one run: a second one is refused, a dead one is taken over."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accel_yolo.engine.run_lock import ABANDONED_S, NAME, RunLock
from accel_yolo.errors import EnvironmentFault

HOLDER = """
import os, sys
from pathlib import Path
from accel_yolo.engine.run_lock import RunLock
lock = RunLock.taken(Path(sys.argv[1]))
child = os.fork() if len(sys.argv) > 2 else 0  # as data workers are made
if child or len(sys.argv) == 2:
    print("held", child, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder, and has forked one that outlives it."""
    words = [sys.executable, "-c", HOLDER, str(tmp_path), "fork"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    held, child = process.stdout.readline().split()
    assert held == "held"
    yield process
    process.kill()
    os.kill(int(child), 9)
    process.communicate()


def lease_of(folder: Path) -> dict[str, object]:
    return json.loads((folder / NAME).read_text())


def test_a_second_run_is_refused_and_told_who_is_there(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault) as caught:
        RunLock.taken(tmp_path)
    line = str(caught.value)
    says = rf"another run works in this folder in {re.escape(str(tmp_path))}: process {holder.pid} on "
    assert re.match(says + rf"{re.escape(socket.gethostname())} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d; wait for", line)
    assert caught.value.exit_code == 7
    assert lease_of(tmp_path)["pid"] == holder.pid, "it holds the folder still"


def test_what_a_killed_run_left_is_taken_over(
    holder: subprocess.Popen[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also while a process lives that it has forked."""
    holder.kill()
    holder.wait()
    lock = RunLock.taken(tmp_path)
    assert f"was left by process {holder.pid} on {socket.gethostname()} since" in capsys.readouterr().err
    assert lease_of(tmp_path)["pid"] == os.getpid()
    lock.release()
    assert not (tmp_path / NAME).exists()
    lock.release()


def test_a_process_with_the_number_of_a_dead_one_is_not_taken_for_it(tmp_path: Path) -> None:
    RunLock.taken(tmp_path)._ending.set()
    (tmp_path / NAME).write_text(json.dumps({**lease_of(tmp_path), "pid": os.getppid(), "born": 1}))
    RunLock.taken(tmp_path).release()


def of_another_host(folder: Path, age_s: float) -> None:
    lease = {"host": "elsewhere", "pid": 1, "born": 7, "since": "2026-01-01 00:00:00"}
    (folder / NAME).write_text(json.dumps(lease))
    moment = time.time() - age_s
    os.utime(folder / NAME, (moment, moment))


def test_a_run_on_another_host_counts_as_alive_for_ten_minutes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lock of the kernel may not reach that host."""
    of_another_host(tmp_path, ABANDONED_S - 60)
    with pytest.raises(EnvironmentFault, match="process 1 on elsewhere since 2026-01-01 00:00:00; wait for its end"):
        RunLock.taken(tmp_path)
    of_another_host(tmp_path, ABANDONED_S + 60)
    RunLock.taken(tmp_path).release()
    assert "was left by process 1 on elsewhere" in capsys.readouterr().err


def test_the_age_of_a_lease_is_not_taken_from_our_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is a day ahead must not take over a run that lives."""
    of_another_host(tmp_path, 5)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 86400)
    with pytest.raises(EnvironmentFault, match="elsewhere"):
        RunLock.taken(tmp_path)


def test_runs_one_after_another_in_a_process_do_not_disturb_each_other(tmp_path: Path) -> None:
    RunLock.taken(tmp_path).release()
    abandoned = RunLock.taken(tmp_path)
    RunLock.taken(tmp_path).release()
    abandoned.release()


def test_a_damaged_lease_does_not_block_a_folder(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("{half")
    RunLock.taken(tmp_path).release()
