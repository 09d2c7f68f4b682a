"""When a run will end: from the pace of its steps and from what lies between its epochs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine import run_clock
from accel_yolo.engine.run_clock import RunClock
from accel_yolo.engine.schedule import Schedule

CONFIG = TrainConfig(epochs=5)


class Time:
    """A clock that is set by hand."""

    now_s = 100.0

    def perf_counter(self) -> float:
        """Return the time in seconds."""
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(run_clock, "time", clock)
    return clock


def test_validation_counts_once_it_has_been_measured(clock: Time) -> None:
    run = RunClock(Schedule(CONFIG, 50))
    run.begin_epoch(0)
    clock.now_s += 9
    assert run.left_s(9) is None, "a few steps say little"
    assert run.words(9) == ""
    clock.now_s += 1
    assert run.left_s(10) == pytest.approx(240)
    assert run.words(10) == "ETA over 4:00"
    clock.now_s += 40
    run.end_steps(50)
    clock.now_s += 20  # validation and checkpoints
    run.begin_epoch(50)
    assert run.left_s(51) == pytest.approx(199 + 4 * 20), "before its own pace is known, that of the last epoch"
    assert run.words(51) == "ETA 4:39"
    clock.now_s += 50
    assert run.left_s(75) == pytest.approx(2 * 175 + 4 * 20), "this epoch takes twice as long"


def test_the_measured_end_is_the_end(clock: Time) -> None:
    run, ends_s = RunClock(Schedule(CONFIG, 50)), 100.0 + 5 * (50 * 0.5 + 8)
    for epoch in range(5):
        run.begin_epoch(epoch * 50)
        for step in range(epoch * 50 + 1, epoch * 50 + 51):
            clock.now_s += 0.5
            left_s = run.left_s(step)
            if epoch:
                assert left_s is not None
                assert clock.now_s + left_s == pytest.approx(ends_s, abs=8)
        run.end_steps((epoch + 1) * 50)
        clock.now_s += 8
    assert clock.now_s == ends_s


def test_without_validation_between_there_is_none_to_wait_for(clock: Time) -> None:
    run = RunClock(Schedule(replace(CONFIG, noval=True), 50))
    run.begin_epoch(0)
    clock.now_s += 20
    assert run.left_s(20) == pytest.approx(230)
    assert run.words(20) == "ETA 3:50"


def test_a_resumed_run_counts_its_own_steps_only(clock: Time) -> None:
    run = RunClock(Schedule(CONFIG, 50))
    run.begin_epoch(120)
    clock.now_s += 30
    assert run.left_s(130) == pytest.approx(3 * 120)
    run.end_steps(150)
    run.begin_epoch(150)  # of an epoch of which only the validation was left nothing is trained
    run.end_steps(150)
    assert run.left_s(150) == pytest.approx(100)
