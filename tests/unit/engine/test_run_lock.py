"""A run folder belongs to one run: a second one is refused, a dead one is taken over."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accel_yolo.engine import run_lock
from accel_yolo.engine.run_lock import NAME, RunLock
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


ELSEWHERE = {"host": "elsewhere", "pid": 1, "born": 7, "since": "2026-01-01 00:00:00"}


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


def test_a_launcher_removes_what_its_killed_process_left(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    run_lock.remove_left(tmp_path, [holder.pid])
    assert lease_of(tmp_path)["pid"] == holder.pid, "it lives"
    holder.kill()
    holder.wait()
    run_lock.remove_left(tmp_path, [holder.pid + 1])
    assert lease_of(tmp_path)["pid"] == holder.pid, "of another run"
    run_lock.remove_left(tmp_path, [holder.pid])
    assert not (tmp_path / NAME).exists()
    run_lock.remove_left(tmp_path, [holder.pid])


def test_a_launcher_leaves_the_lease_of_another_host(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(json.dumps(ELSEWHERE))
    run_lock.remove_left(tmp_path, [1])
    assert lease_of(tmp_path) == ELSEWHERE


def test_a_process_with_the_number_of_a_dead_one_is_not_taken_for_it(tmp_path: Path) -> None:
    RunLock.taken(tmp_path)._ending.set()
    (tmp_path / NAME).write_text(json.dumps({**lease_of(tmp_path), "pid": os.getppid(), "born": 1}))
    RunLock.taken(tmp_path).release()


@pytest.fixture
def of_another_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lease of a run on another host, which the lock of the kernel may not reach; it is watched for a moment."""
    monkeypatch.setattr(run_lock, "WATCHED_S", 0.4)
    path = tmp_path / NAME
    path.write_text(json.dumps(ELSEWHERE))
    return path


def test_what_another_host_has_left_is_taken_over_after_it_was_watched(
    of_another_host: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when it was renewed a moment ago: its host may have failed right after that."""
    begin = time.monotonic()
    lock = RunLock.taken(tmp_path)
    assert time.monotonic() - begin >= 0.4
    said = capsys.readouterr().err
    assert f"note: {tmp_path} is held by process 1 on elsewhere since 2026-01-01 00:00:00; watching for 0 s" in said
    assert f"{tmp_path} was left by process 1 on elsewhere" in said
    assert lease_of(tmp_path)["pid"] == os.getpid()
    lock.release()
    assert not of_another_host.exists()


@pytest.mark.parametrize("clock", [-86400, 0, 86400], ids=["a day behind", "right", "a day ahead"])
def test_a_run_on_another_host_that_renews_its_lease_is_not_disturbed(
    of_another_host: Path, tmp_path: Path, clock: int
) -> None:
    """Whatever the clock of that host says."""
    moment = time.time() + clock
    os.utime(of_another_host, (moment, moment))
    renewal = threading.Timer(0.15, os.utime, (of_another_host, (moment + 20, moment + 20)))
    renewal.start()
    with pytest.raises(EnvironmentFault, match="process 1 on elsewhere since 2026-01-01 00:00:00; wait for its end"):
        RunLock.taken(tmp_path)
    renewal.join()
    assert json.loads(of_another_host.read_text()) == ELSEWHERE


def test_a_lease_is_watched_for_three_renewals() -> None:
    assert run_lock.WATCHED_S == 3 * run_lock.RENEWED_EVERY_S


def test_a_process_whose_folder_was_taken_over_ends_and_leaves_it_alone(tmp_path: Path) -> None:
    """It was suspended for minutes, and its successor on another host writes there now."""
    words = [sys.executable, "-c", f"from accel_yolo.engine import run_lock; run_lock.RENEWED_EVERY_S = 0.1\n{HOLDER}"]
    process = subprocess.Popen(
        [*words, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().startswith("held")
    os.kill(process.pid, signal.SIGSTOP)
    (tmp_path / NAME).write_text(json.dumps(ELSEWHERE))
    os.kill(process.pid, signal.SIGCONT)
    assert process.wait(20) == 7
    said = process.stderr.read()
    assert f"error: this process did not run for a while, and its folder was taken over in {tmp_path}: " in said
    assert "process 1 on elsewhere since 2026-01-01 00:00:00" in said
    assert lease_of(tmp_path) == ELSEWHERE
    process.communicate()


def test_a_run_on_another_host_that_ends_meanwhile_leaves_the_folder(of_another_host: Path, tmp_path: Path) -> None:
    threading.Timer(0.15, of_another_host.unlink).start()
    RunLock.taken(tmp_path).release()


@pytest.mark.parametrize("is_new", [False, True], ids=["in the same file", "in a new file"])
def test_the_lock_of_a_successor_is_not_removed(tmp_path: Path, is_new: bool) -> None:
    lock = RunLock.taken(tmp_path)
    if is_new:
        (tmp_path / NAME).unlink()
    (tmp_path / NAME).write_text(json.dumps(ELSEWHERE))
    lock.release()
    assert lease_of(tmp_path) == ELSEWHERE


def test_a_file_system_that_numbers_files_anew_each_time_does_not_hold_up_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "_is_at", lambda path, descriptor: False)
    lock = RunLock.taken(tmp_path)
    assert lease_of(tmp_path)["pid"] == os.getpid()
    lock.release()


def test_runs_one_after_another_in_a_process_do_not_disturb_each_other(tmp_path: Path) -> None:
    RunLock.taken(tmp_path).release()
    abandoned = RunLock.taken(tmp_path)
    RunLock.taken(tmp_path).release()
    abandoned.release()


def test_a_damaged_lease_does_not_block_a_folder(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("{half")
    RunLock.taken(tmp_path).release()
