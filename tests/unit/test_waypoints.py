"""Waypoints say where a process is, and are where a test asks for faults."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from accel_yolo import waypoints
from accel_yolo.errors import ConfigError


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(waypoints.FAIL, raising=False)
    waypoints.begin(0)
    yield
    monkeypatch.delenv(waypoints.FAIL, raising=False)
    waypoints.begin(0)


def asked(monkeypatch: pytest.MonkeyPatch, text: str, rank: int = 0) -> None:
    monkeypatch.setenv(waypoints.FAIL, text)
    waypoints.begin(rank)


def test_a_process_is_where_it_came_last_and_keeps_its_step() -> None:
    begin = time.monotonic()
    waypoints.reach("data", 7)
    waypoints.reach("forward")
    here = waypoints.place()
    assert (here.name, here.step) == ("forward", 7)
    assert begin <= here.since <= time.monotonic()


def test_a_fault_happens_at_its_point_rank_and_step_only_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked(monkeypatch, "forward:1:3:raise", rank=1)
    waypoints.reach("forward", 2)
    waypoints.reach("data", 3)
    with pytest.raises(RuntimeError, match="asked for at forward"):
        waypoints.reach("forward")
    waypoints.reach("forward")
    asked(monkeypatch, "forward:1:3:raise", rank=0)
    waypoints.reach("forward", 3)


@pytest.mark.parametrize(("action", "number"), [("enospc", errno.ENOSPC), ("eio", errno.EIO)])
def test_errors_of_the_disk(monkeypatch: pytest.MonkeyPatch, action: str, number: int) -> None:
    asked(monkeypatch, f"write:*:*:{action}")
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        waypoints.fail_at("write")
    assert caught.value.errno == number


def test_a_fault_belongs_to_one_start_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    asked(monkeypatch, "forward:*:*:raise")
    waypoints.reach("forward")
    asked(monkeypatch, "forward:*:*:raise:1")
    with pytest.raises(RuntimeError):
        waypoints.reach("forward")


@pytest.mark.parametrize(("action", "status"), [("kill", -9), ("term", -15), ("exit0", 0)])
def test_faults_that_end_the_process(action: str, status: int) -> None:
    program = "from accel_yolo import waypoints; waypoints.reach('here'); print('survived')"
    variables = os.environ | {waypoints.FAIL: f"here:*:*:{action}"}
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (status, "")


@pytest.mark.parametrize("text", ["forward", "forward:0:0:explode", "forward:0:0:-1"])
def test_what_is_not_understood_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    asked(monkeypatch, text)
    with pytest.raises(ConfigError, match=text):
        waypoints.reach("forward")


def test_the_files_at_hand_are_asked_for_only_when_somebody_looks() -> None:
    calls: list[str] = []

    def files() -> list[str]:
        calls.append("asked")
        return ["a.jpg"]

    waypoints.tell_files(files)
    assert not calls
    assert waypoints.files_at_hand() == ["a.jpg"]

    def failing() -> list[str]:
        raise KeyError("gone")

    waypoints.tell_files(failing)
    assert waypoints.files_at_hand() == []
    waypoints.tell_files(None)
    assert waypoints.files_at_hand() == []
