"""Saving in the background: in order, awaited, and failures are counted and told."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from accel_yolo.engine.checkpoint_files import tensor_pieces
from accel_yolo.engine.writer import HostCopy, Writer
from accel_yolo.errors import EnvironmentFault


def test_jobs_are_done_in_their_order_while_the_caller_goes_on() -> None:
    writer, done, gate = Writer(Path("runs/exp")), [], threading.Event()
    writer.submit(lambda: (gate.wait(10), done.append(1)))
    writer.submit(lambda: done.append(2))
    assert done == []
    gate.set()
    writer.wait()
    assert done == [1, 2]


def test_failures_in_a_row_are_counted_and_told_once() -> None:
    writer = Writer(Path("runs/exp"))

    def fail() -> None:
        raise EnvironmentFault("disk full")

    for _ in range(2):
        writer.submit(fail)
    writer.wait()
    assert (writer.failures, writer.news(), writer.news()) == (2, ["disk full"] * 2, [])
    writer.submit(lambda: None)
    writer.wait()
    assert writer.failures == 0


def test_what_failed_is_tried_once_more_where_it_must_be_saved() -> None:
    writer, tries = Writer(Path("runs/exp")), []

    def fail_at_first() -> None:
        tries.append(1)
        if len(tries) < 2:
            raise EnvironmentFault("disk full")

    writer.submit(fail_at_first)
    writer.settle()
    assert (len(tries), writer.failures) == (2, 0)
    tries.clear()

    def fail() -> None:
        raise EnvironmentFault("disk full")

    writer.submit(fail)
    with pytest.raises(EnvironmentFault, match="disk full"):
        writer.settle()


def test_a_disk_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    writer, gate = Writer(Path("runs/exp/checkpoints")), threading.Event()
    writer.submit(lambda: gate.wait(10))
    with pytest.raises(EnvironmentFault) as caught:
        writer.wait(0.01)
    gate.set()
    assert "the disk does not take the checkpoint within 0 s in runs/exp/checkpoints; the earlier" in str(caught.value)


def test_a_mistake_of_the_program_is_not_taken_for_a_full_disk() -> None:
    writer = Writer(Path("runs/exp"))
    writer.submit(lambda: [][0])
    with pytest.raises(IndexError):
        writer.wait()
    assert writer.must_stop, "all processes learn of it with the next step, not with the next save"


def test_a_disk_that_was_too_slow_stops_the_run_even_when_it_has_answered_since() -> None:
    writer, gate = Writer(Path("runs/exp/checkpoints"), longest_s=0.01), threading.Event()
    writer.submit(lambda: gate.wait(10))
    assert not writer.is_idle_within() and writer.must_stop
    gate.set()
    with pytest.raises(EnvironmentFault, match="the disk does not take the checkpoint within 0 s"):
        writer.settle()


def test_a_job_given_while_another_ends_is_waited_for() -> None:
    def slow(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code.co_name != "_work":
            return None
        time.sleep(0.01)  # each line of it takes a while, so that something may happen between any two
        return slow

    writer = Writer(Path("runs/exp"))
    threading.settrace(slow)
    try:
        writer.submit(lambda: None)
    finally:
        threading.settrace(sys.gettrace())
    for late_s in range(0, 50, 7):
        ended, done = threading.Event(), []
        writer.submit(ended.set)
        assert ended.wait(10)
        time.sleep(late_s / 1000)
        writer.submit(lambda done=done: (time.sleep(0.1), done.append(1)))
        writer.wait()
        assert done == [1], f"given {late_s} ms after the one before"


def test_a_copy_keeps_the_numbers_of_its_moment_and_its_memory() -> None:
    weights = {"a": torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last), "n": torch.tensor(3)}
    copy = HostCopy()
    first = copy.of({"model": weights})
    weights["a"] += 1
    assert first["model"]["a"].is_contiguous() and torch.equal(first["model"]["a"], torch.ones(2, 3, 4, 4))
    place = first["model"]["a"].data_ptr()
    second = copy.of({"model": weights})
    assert second["model"]["a"].data_ptr() == place and bool((second["model"]["a"] == 2).all())


def test_a_copy_lies_in_memory_as_its_file_does() -> None:
    weights = {
        "flag": torch.tensor([True, False, True]), "half": torch.randn(3, 2).half(), "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(2.5), "steps": torch.tensor(7), "double": torch.rand(2).double(),
    }  # fmt: skip
    copied = HostCopy().of({"model": weights})["model"]
    assert all(
        copied[name].dtype == value.dtype and torch.equal(copied[name], value) for name, value in weights.items()
    )
    header, *memory = tensor_pieces(copied)
    assert len(memory) == 1
    assert b"".join((header, *memory)) == b"".join(tensor_pieces(weights))


def test_an_optimizer_that_has_no_state_yet_is_copied_too() -> None:
    copy = HostCopy()
    assert copy.of({"optimizer": {}}) == copy.of({"optimizer": {}}) == {"optimizer": {}}


def test_a_copy_of_other_tensors_has_memory_of_their_size() -> None:
    copy = HostCopy()
    copy.of({"optimizer": {"a": torch.zeros(2)}})
    later = {"a": torch.ones(2), "b": torch.ones(3, 1)}
    found = copy.of({"optimizer": later})["optimizer"]
    assert found.keys() == later.keys() and all(torch.equal(found[name], value) for name, value in later.items())
