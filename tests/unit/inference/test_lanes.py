"""Lanes give what a plain loop gives, in its order, and leave no trace."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from accel_yolo.inference import lanes, looking
from accel_yolo.inference.lanes import in_lanes, lanes_of
from accel_yolo.inference.looking import looked_at
from accel_yolo.inference.network import Network
from accel_yolo.inference.picture_detector import Picture, PredictOptions
from accel_yolo.inference.predictor import Predictor
from accel_yolo.inference.sources.frames import Frame
from accel_yolo.inference.sources.items import Item

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items() -> None:
    first_may_end = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert first_may_end.wait(20)
        first_may_end.set()  # by another item: the first one ends after it
        return item * item

    assert list(in_lanes(work, range(50), CPU)) == [item * item for item in range(50)]


def test_only_a_few_items_are_taken_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = in_lanes(lambda item: item, items(), CPU)
    assert next(results) == 0
    assert len(taken) <= 4 + 2
    results.close()
    assert len(taken) <= 4 + 2


@pytest.mark.parametrize(("heaviest", "in_lanes_at_once"), [(1000, 6), (25, 2), (5, 1)])
def test_heavy_items_are_fewer_at_once(heaviest: int, in_lanes_at_once: int) -> None:
    taken, given, most = 0, 0, 0

    def items() -> Iterator[int]:
        nonlocal taken, most
        for item in range(30):
            most = max(most, taken - given)
            taken += 1
            yield item

    for result in in_lanes(lambda item: item, items(), CPU, lambda _: 10, heaviest):
        assert result == given
        given += 1
    assert given == 30
    # The caller's own count is behind by the one result that it is about to take.
    assert in_lanes_at_once - 1 <= most <= in_lanes_at_once + 1


def test_large_pictures_wait_outside_of_the_lanes(monkeypatch: pytest.MonkeyPatch, bright_spot: Network) -> None:
    picture = Picture(np.zeros((64, 64, 3), np.uint8))
    taken: list[int] = []

    def batches() -> Iterator[list[Frame]]:
        for number in range(20):
            taken.append(number)
            yield [Frame(picture, Item(str(number), "image"))]

    def taken_at_the_first() -> int:
        taken.clear()
        looked = looked_at(Predictor(bright_spot), batches(), PredictOptions((64, 64)), in_turn=False)
        next(looked)
        return len(taken)

    monkeypatch.setattr(type(bright_spot), "parallel", True)
    assert taken_at_the_first() == 4 + 2
    monkeypatch.setattr(looking, "MOST_BYTES", 2 * picture.image.nbytes)
    assert taken_at_the_first() == 2 + 1


def test_an_error_of_an_item_reaches_the_caller() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("item 3")
        return item

    found = in_lanes(work, range(100), CPU)
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="item 3"):
        next(found)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lane")]


def test_a_lane_has_its_share_of_threads_and_the_caller_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lanes_of(CPU) == (4, 1)
    assert set(in_lanes(lambda _: torch.get_num_threads(), range(9), CPU)) == {1}
    monkeypatch.setattr(lanes, "MOST_LANES", 3)
    assert lanes_of(CPU) == (2, 2)
    assert set(in_lanes(lambda _: torch.get_num_threads(), range(9), CPU)) == {2}
    assert torch.get_num_threads() == 4
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [4]


def test_lanes_work_under_the_modes_of_the_caller() -> None:
    weight = torch.ones(8, 8, requires_grad=True)

    def work(_: int) -> torch.Tensor:
        return torch.ones(8, 8) @ weight

    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        results = list(in_lanes(work, range(6), CPU))
    assert all(result.dtype == torch.bfloat16 and result.is_inference() for result in results)
    with torch.inference_mode():
        assert next(in_lanes(work, range(6), CPU)).dtype == torch.float32


def test_one_thread_and_accelerators_work_in_the_calling_thread() -> None:
    assert lanes_of(torch.device("cuda"))[0] == 1
    torch.set_num_threads(1)
    assert set(in_lanes(lambda _: threading.current_thread(), range(3), CPU)) == {threading.current_thread()}
