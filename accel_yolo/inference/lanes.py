"""Work on a CPU in lanes: threads that each take whole items, instead of all threads sharing every operation.

Threads that share an operation wait for each other at its end. A small network has hundreds of short ones, and where
another process takes a core for a moment, everybody waits (busily). Lanes never meet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

MOST_LANES = 8
"""More would hold too many batches in memory; further threads share the operations of a lane."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def lanes_of(device: torch.device) -> tuple[int, int]:
    """Return how many lanes there are on `device`, and how many threads each has."""
    if device.type != "cpu":
        return 1, torch.get_num_threads()
    threads = torch.get_num_threads()
    each = -(-threads // MOST_LANES)
    return threads // each, each


def in_lanes(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    device: torch.device,
    weight: Callable[[Item], int] = lambda _: 0,
    heaviest: int = 0,
) -> Generator[Result, None, None]:
    """Yield what `work` returns for each item, in order; on a CPU several items are worked on at once.

    At most two more items than there are lanes are taken from `items` before the first result is asked for, so an
    item must stay valid that long.

    Args:
        work: must not depend on what other threads do. It runs in inference mode and under the autocast of the caller.
        items: taken by the calling thread.
        device: where the work is done.
        weight: of an item; it counts until its result is taken.
        heaviest: how heavy the items in the lanes may be together; one that is too heavy on its own goes alone.
    """
    lanes, each = lanes_of(device)
    if lanes == 1:
        yield from map(work, items)
        return
    threads, autocast = torch.get_num_threads(), torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu")

    def one(item: Item) -> Result:
        # Neither mode is inherited by a thread.
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=autocast):
            return work(item)

    pool = ThreadPoolExecutor(lanes, "lane", initializer=torch.set_num_threads, initargs=(each,))
    waiting: deque[tuple[int, Future[Result]]] = deque()
    try:
        for item in items:
            more = weight(item)
            while waiting and sum(load for load, _ in waiting) + more > heaviest:
                yield waiting.popleft()[1].result()
            waiting.append((more, pool.submit(one, item)))
            del item  # only the lanes hold it while the next one is made
            if len(waiting) > lanes + 1:
                yield waiting.popleft()[1].result()
        while waiting:
            yield waiting.popleft()[1].result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # a lane's number has become that of threads yet to come
