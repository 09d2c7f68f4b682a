"""What ended a run is told once: the cause, not its consequences."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from accel_yolo.engine import failures
from accel_yolo.engine.endings import FINISHED, ending_of
from accel_yolo.engine.launched import LAUNCH_DIR
from accel_yolo.errors import DataError, PeerError, StoppedByPeer, UserError


@pytest.fixture(autouse=True)
def _as_launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(LAUNCH_DIR, str(tmp_path))
    for name, value in (("WORLD_SIZE", "3"), ("LOCAL_WORLD_SIZE", "3"), ("GROUP_RANK", "0"), ("GROUP_WORLD_SIZE", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")


def fails(monkeypatch: pytest.MonkeyPatch, rank: int, error: BaseException) -> bool:
    """Leave word as process `rank` would."""
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    return failures.record(error)


def cause(folder: Path, exit_codes: dict[int, int]) -> tuple[int, str]:
    ending = ending_of(folder, exit_codes, size=3)
    return ending.code, ending.message


def test_the_cause_comes_before_its_consequences(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert fails(monkeypatch, 0, PeerError("another process is gone"))
    assert fails(monkeypatch, 1, StoppedByPeer(3, "broken image"))
    assert fails(monkeypatch, 2, DataError("broken image", "a.jpg"))
    assert cause(tmp_path, {0: 5, 1: 3, 2: 3}) == (3, "broken image in a.jpg")


def test_of_two_causes_the_first_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for rank, message in ((1, "first"), (0, "second")):
        fails(monkeypatch, rank, DataError(message))
    assert cause(tmp_path, {0: 3, 1: 3}) == (3, "first")


def test_a_killed_process_comes_before_those_that_lost_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fails(monkeypatch, 0, PeerError("another process is gone"))
    codes = {0: 5, 1: -signal.SIGKILL, 2: -signal.SIGTERM}  # the launcher ended the third
    assert cause(tmp_path, codes) == (5, "process 1 was killed by SIGKILL (out of memory?)")


def test_a_process_that_leaves_without_a_word_keeps_its_exit_code(tmp_path: Path) -> None:
    assert cause(tmp_path, {1: 7, 0: -signal.SIGTERM}) == (7, "process 1 ended with exit code 7")
    assert cause(tmp_path, {0: -signal.SIGSEGV}) == (5, "process 0 was killed by SIGSEGV")
    assert cause(tmp_path, {0: -signal.SIGTERM}) == (5, "process 0 was killed by SIGTERM")
    assert cause(tmp_path, {0: 0}) == (5, "process 0 left with exit code 0 before the run was done")
    (tmp_path / "0.done").touch()
    assert ending_of(tmp_path, {0: 0}, size=1).kind == FINISHED


def test_a_lost_machine_is_told_when_nothing_else_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fails(monkeypatch, 0, PeerError("another process is gone"))
    assert cause(tmp_path, {0: 5, 1: -signal.SIGTERM}) == (5, "another process is gone")


def test_an_unexpected_fault_points_to_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fails(monkeypatch, 2, ZeroDivisionError("division\nby zero"))
    message = "process 2 failed: ZeroDivisionError: division by zero; its traceback is above"
    assert cause(tmp_path, {2: 1}) == (1, message)


def test_a_half_written_word_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "0.json").write_text('{"exit_co')
    fails(monkeypatch, 1, DataError("broken"))
    assert cause(tmp_path, {0: -9, 1: 3}) == (3, "broken")


def test_the_run_folder_keeps_the_first_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.delenv(LAUNCH_DIR)
    failures.write_to(run)
    try:
        assert not fails(monkeypatch, 1, DataError("broken")), "a foreign launcher does not speak: the process does"
        fails(monkeypatch, 0, PeerError("another process is gone"))
    finally:
        failures.write_to(None)
    kept = json.loads((run / "failure.json").read_text())
    assert (kept["exit_code"], kept["message"], kept["rank"]) == (3, "broken", 1)
    assert kept["host"] == socket.gethostname() and kept["pid"] == os.getpid() and kept["size"] == 3
    assert kept["checkpoint"] == "none yet"


def test_the_file_of_an_earlier_start_goes_whatever_the_clock_says(tmp_path: Path) -> None:
    file = tmp_path / "failure.json"
    file.write_text("{}")
    os.utime(file, (2**31, 2**31))
    failures.remove_earlier(tmp_path)
    assert not file.exists()
    failures.remove_earlier(tmp_path)  # there may be none


def test_a_process_without_a_launcher_speaks_for_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (LAUNCH_DIR, "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", "MASTER_ADDR"):
        monkeypatch.delenv(name)
    failures.write_to(tmp_path)
    try:
        assert not failures.record(UserError("broken"))
    finally:
        failures.write_to(None)
    assert json.loads((tmp_path / "failure.json").read_text())["message"] == "broken"
