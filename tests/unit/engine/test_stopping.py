"""How often our launcher was asked to stop, and how long it is patient for that."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator

import pytest

from accel_yolo.engine import stopping
from accel_yolo.engine.signals import SAME_WITHIN_S, Signals
from accel_yolo.engine.stopping import AT_ONCE_S, SAVE_S, NoMorePatience, Stop
from accel_yolo.engine.writer import LONGEST_S


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test sets."""
    time = [100.0]
    monkeypatch.setattr(stopping, "now", lambda: time[0])
    return time


@pytest.fixture
def stop() -> Iterator[Stop]:
    with Signals() as signals:
        yield Stop(signals)


def come(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def test_nobody_has_asked(stop: Stop) -> None:
    assert not stop.heard() and stop.first is None and stop.until == math.inf


@pytest.mark.parametrize("second", [signal.SIGHUP, signal.SIGTERM])
def test_what_comes_within_a_moment_of_the_first_is_the_same(
    stop: Stop, clock: list[float], second: signal.Signals
) -> None:
    """A terminal that closes sends SIGHUP twice; the processes, which need time to save, must keep it."""
    come(signal.SIGHUP)
    assert stop.heard() == [signal.SIGHUP]
    clock[0] += SAME_WITHIN_S * 0.9
    come(second)
    assert not stop.heard() and stop.until == 100 + SAVE_S and stop.first == signal.SIGHUP


def test_a_second_one_shortens_the_patience_and_a_third_does_not_prolong_it(stop: Stop, clock: list[float]) -> None:
    come(signal.SIGTERM)
    assert stop.heard() == [signal.SIGTERM]
    clock[0] += 2
    come(signal.SIGTERM)
    assert stop.heard() == [signal.SIGTERM] and stop.until == 102 + AT_ONCE_S
    clock[0] += 2
    come(signal.SIGTERM)
    assert stop.heard() == [signal.SIGTERM] and stop.until == 102 + AT_ONCE_S


def test_a_wait_for_others_ends_with_a_new_signal_only(stop: Stop) -> None:
    """One that the processes have obeyed must not replace what they say of their end."""
    stop.look()
    come(signal.SIGTERM)
    with pytest.raises(NoMorePatience):
        stop.look()
    stop.look()
    assert stop.ending().code == 143 and stop.ending().message == "stopped by SIGTERM"


def test_the_patience_after_a_signal_is_longer_than_a_save_may_take() -> None:
    assert SAVE_S > LONGEST_S
