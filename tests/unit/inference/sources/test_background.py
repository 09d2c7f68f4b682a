"""Threads beside the network: order, limits, and errors that arrive where they are awaited."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from accel_yolo.errors import DataError
from accel_yolo.inference.sources.background import Behind, ahead


def light(item: object) -> int:
    return 1


def test_items_come_in_order_and_are_computed_in_another_thread() -> None:
    threads = set()

    def items() -> Iterator[int]:
        for number in range(500):
            threads.add(threading.current_thread())
            yield number

    assert list(ahead(items(), 3, 100, light)) == list(range(500))
    assert len(threads) == 1 and threading.current_thread() not in threads


@pytest.mark.parametrize(("most", "heaviest", "expected"), [(4, 10**9, 4), (100, 25, 2), (100, 5, 1)])
def test_no_more_waits_than_is_allowed_by_number_or_by_weight(most: int, heaviest: int, expected: int) -> None:
    made, taken = 0, 0
    furthest = 0

    def items() -> Iterator[int]:
        nonlocal made, furthest
        for number in range(40):
            # This one is in hand, those before it that were not taken wait.
            furthest = max(furthest, made - taken)
            made += 1
            yield number

    for _ in ahead(items(), most, heaviest, lambda item: 10):
        time.sleep(0.001)
        taken += 1
    # The one that the consumer holds counts as not taken yet, and one is in the hand of the reader.
    assert expected <= furthest <= expected + 2


def test_an_error_arrives_after_what_came_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise DataError("broken")

    got = []
    with pytest.raises(DataError, match="broken"):
        for item in ahead(items(), 5, 100, light):
            got.append(item)
    assert got == [1, 2]


def test_who_stops_early_ends_the_thread_and_closes_what_it_reads() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    before = threading.active_count()
    with contextlib.closing(ahead(items(), 2, 100, light)) as source:
        assert next(source) == 1
    assert threading.active_count() == before
    assert closed.wait(5)


def test_work_behind_is_done_in_order_and_finished_when_asked() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        time.sleep(0.0005)
        done.append(item)

    behind = Behind(work, 3, 100, light)
    for item in range(100):
        behind.put(item)
    behind.finish()
    assert done == list(range(100))


def test_stopped_work_behind_ends_after_the_item_in_hand() -> None:
    done: list[int] = []
    begun, may_end = threading.Event(), threading.Event()

    def work(item: int) -> None:
        begun.set()
        assert may_end.wait(20)
        done.append(item)

    behind = Behind(work, 9, 100, light)
    for item in range(5):
        behind.put(item)
    assert begun.wait(20)
    threading.Timer(0.05, may_end.set).start()
    behind.stop()
    assert done == [0]


def test_an_error_behind_arrives_at_the_next_item_or_at_the_end() -> None:
    def work(item: int) -> None:
        raise DataError(f"item {item}")

    behind = Behind(work, 2, 100, light)
    with pytest.raises(DataError, match="item 0"):
        for item in range(1000):
            behind.put(item)
    with pytest.raises(DataError, match="item 0"):
        behind.finish()
    late = Behind(work, 2, 100, light)
    late.put(7)
    with pytest.raises(DataError, match="item 7"):
        late.finish()
