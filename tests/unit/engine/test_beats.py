"""Who is the reason when a message between processes fails: told from the last beats of all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from accel_yolo.engine.beats import Beat, Inquiry, Watch, find, slow_process


def beat(rank: int, name: str = "agreement", step: int = 120, **more: Any) -> Beat:
    places = {0: ("alpha", "10.77.0.1"), 1: ("beta", "10.77.0.2")}
    machine = rank // 2
    host, address = places[machine]
    return Beat(rank, machine, host, address, pid=100 + rank, number=7, name=name, step=step, **more)


def inquiry(beats: list[Beat], silent_s: dict[int, float] | None = None, **more: Any) -> Inquiry:
    """Process 0 asks at the second 100 of its clock; all have been heard just now but those named."""
    watch = Watch()
    for one in beats:
        watch.take([one], 100.0 - (silent_s or {}).get(one.rank, 0.0))
    return Inquiry(0, watch, 100.0, **{"noticed": {0: ""}, "waited_s": 20.0, "stale_s": 2.0, **more})


def test_the_one_that_works_for_itself_while_others_wait_hangs() -> None:
    files = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    beats = [beat(0), beat(1), beat(2), beat(3, "data", files=files, for_s=24.2)]
    found = find(inquiry(beats))
    assert found.kind == "hangs"
    assert found.message == (
        "process 3 on machine 1 (beta) hangs in data loading since step 120, 24 s; its last files: a.jpg, b.jpg, c.jpg"
    )


def test_of_those_that_wait_the_one_behind_hangs() -> None:
    found = find(inquiry([beat(0), beat(1, "exchange", 119, for_s=9.0), beat(2)]))
    assert found.message == "process 1 on machine 0 (alpha) hangs in the exchange of gradients since step 119, 9 s"


def test_one_that_has_noticed_is_innocent() -> None:
    found = find(inquiry([beat(0), beat(1, "data", for_s=5.0), beat(2)], noticed={0: "", 1: ""}))
    assert found.beat is not None and found.beat.rank == 2


def test_it_is_known_when_nobody_is_left_who_would_still_say_anything() -> None:
    watch = inquiry([beat(0), beat(1), beat(2)], {1: 4.0, 2: 3.0}).watch
    assert not watch.is_silent_but_for({0}, 3.5, 100.0)
    assert watch.is_silent_but_for({0, 2}, 3.5, 100.0) and watch.is_silent_but_for({0}, 2.5, 100.0)
    assert not watch.is_silent_but_for({0, 1, 2}, 2.5, 100.0), "all have spoken"


def test_one_that_is_stopped_hangs_at_least_as_long_as_was_waited() -> None:
    found = find(inquiry([beat(0), beat(1, "forward", for_s=0.2), beat(2, "data")], {1: 6.0}))
    assert found.message.startswith("process 1 on machine 0 (alpha) hangs in the forward pass since step 120, 20 s (it")


@pytest.mark.parametrize("gone", [frozenset[int](), frozenset({1})])
def test_an_error_that_was_told_comes_first(gone: frozenset[int]) -> None:
    found = find(inquiry([beat(0), beat(1)], noticed={0: "", 1: "broken image in a.jpg"}, gone=gone))
    assert (found.kind, found.message) == ("failed", "process 1 on machine 0 (alpha) failed: broken image in a.jpg")


def test_a_machine_that_does_not_answer_is_cut_off() -> None:
    found = find(inquiry([beat(0), beat(1), beat(2, "forward"), beat(3)], {2: 9, 3: 9}, out_of_reach=frozenset({1})))
    assert found.message == (
        "lost contact with machine 1 (beta, 10.77.0.2); its last word came from the forward pass at step 120"
    )


def test_one_that_has_ended_is_no_hang() -> None:
    found = find(inquiry([beat(0), beat(1, "validation")], gone=frozenset({1})))
    assert found.message == (
        "process 1 on machine 0 (alpha) ended without a word; its last word came from validation at step 120"
    )


def test_when_all_are_there_nobody_is_blamed() -> None:
    found = find(inquiry([beat(0), beat(1)], noticed={0: "", 1: ""}))
    assert (found.kind, found.beat) == ("", None)


def test_a_process_is_slow_when_it_works_several_times_longer_than_the_others() -> None:
    before = {rank: beat(rank, spent={"data": 1.0, "forward": 1.0}) for rank in range(4)}

    def after(seconds: list[tuple[float, float]]) -> dict[int, Beat]:
        return {r: replace(before[r], spent={"data": 1 + d, "forward": 1 + f}) for r, (d, f) in enumerate(seconds)}

    found = slow_process(before, after([(1, 3), (1, 3), (12, 3), (1, 3)]), 20.0)
    assert found is not None and found[0].rank == 2
    assert found[1] == "15 s of own work in 20 s, the others 4 s; 80% of it in data loading"
    assert slow_process(before, after([(1, 3), (1, 3), (4, 4), (1, 3)]), 20.0) is None, "not so much slower"
    assert slow_process(before, after([(0, 0.1), (0, 0.1), (0, 2), (0, 0.1)]), 20.0) is None, "too little of the time"
    assert slow_process(before, {0: before[0]}, 20.0) is None
