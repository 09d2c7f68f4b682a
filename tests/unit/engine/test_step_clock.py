"""The clock of the parts of a step, and the profiler's view of one."""

from __future__ import annotations

import time

import torch

from accel_yolo.engine.step_clock import BEGIN, PARTS, StepClock
from accel_yolo.engine.step_trace import traced

CPU = torch.device("cpu")


def test_a_part_lasts_from_the_mark_before_it_to_its_own() -> None:
    clock = StepClock(CPU)
    time.sleep(0.05)
    began = time.perf_counter()
    clock.mark(BEGIN)  # what came before is not counted
    for _ in range(2):
        clock.mark("data")
        time.sleep(0.01)
        clock.mark("forward")
    lasted_s = time.perf_counter() - began
    seconds = clock.seconds()
    assert set(seconds) == set(PARTS)
    assert 0.02 <= seconds["forward"] <= lasted_s
    assert sum(seconds.values()) <= lasted_s
    assert seconds["backward"] == seconds["update"] == 0


def test_seconds_are_told_once() -> None:
    clock = StepClock(CPU)
    clock.mark(BEGIN)
    clock.mark("data")
    assert clock.seconds()["data"] > 0
    assert clock.seconds() == dict.fromkeys(PARTS, 0.0)


def test_the_largest_costs_of_a_step_are_named_and_no_more_than_asked_for() -> None:
    left, right = torch.rand(300, 300), torch.rand(300, 300)
    trace = traced(lambda: torch.relu(left @ right) + 1, CPU, steps=2, largest=2)
    names = [name for name, _, _ in trace.costs]
    assert "aten::mm" in names and len(names) == 2
    assert {name: calls for name, _, calls in trace.costs}["aten::mm"] == 1
    assert trace.costs[0][1] >= trace.costs[1][1] > 0
    assert (trace.launches, trace.waits) == (0, 0)
    assert 0 < trace.kernel_share <= 1
