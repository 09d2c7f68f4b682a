"""Work ahead of the network and behind it, in threads whose errors arrive where they are awaited."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_LONGEST_END_S = 5.0


class _Queue(Generic[T]):
    """Items in order between two threads, few of them and not too heavy together."""

    def __init__(self, most: int, heaviest: int, weight: Callable[[T], int]) -> None:
        self._most, self._heaviest, self._weight = most, heaviest, weight
        self._items: deque[tuple[int, T]] = deque()
        self._load = 0
        self._changed = threading.Condition()
        self._ended = False
        self._stopped = False
        self._error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Append an item when there is room; return False when nobody wants it any more."""
        weight = self._weight(item)
        with self._changed:
            # An item that is too heavy on its own passes alone.
            self._changed.wait_for(
                lambda: (
                    self._stopped
                    or not self._items
                    or (len(self._items) < self._most and self._load + weight <= self._heaviest)
                )
            )
            if self._stopped:
                return False
            self._items.append((weight, item))
            self._load += weight
            self._changed.notify_all()
            return True

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing follows, because of an error or because it was all."""
        with self._changed:
            self._ended, self._error = True, self._error or error
            self._changed.notify_all()

    def stop(self, error: BaseException | None = None) -> None:
        """Say that nothing more is wanted."""
        with self._changed:
            self._stopped, self._error = True, self._error or error
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ended or self._stopped)
                if self._stopped:
                    return
                if not self._items:
                    break
                weight, item = self._items.popleft()
                self._load -= weight
                self._changed.notify_all()
            yield item
        self.check()

    def check(self) -> None:
        """Raise the error of the other side, if it had one."""
        if self._error is not None:
            raise self._error


def ahead(items: Iterable[T], most: int, heaviest: int, weight: Callable[[T], int]) -> Generator[T]:
    """Yield what `items` yields, computed in a thread while what came before is used.

    Args:
        items: an iterable; closing what this function returns ends the thread after the item it is at.
        most: how many items wait at once.
        heaviest: how heavy they may be together.
        weight: of an item.

    Raises:
        BaseException: whatever `items` raises, in its place.
    """
    queue: _Queue[T] = _Queue(most, heaviest, weight)

    def work() -> None:
        try:
            for item in items:
                if not queue.put(item):
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised where the item would have arrived
            queue.end(error)
        else:
            queue.end()

    thread = threading.Thread(target=work, name="reader", daemon=True)
    thread.start()
    try:
        yield from queue
    finally:
        queue.stop()
        # A thread inside OpenCV when Python ends could take the process down; one that waits for a network may not
        # make everybody wait.
        thread.join(_LONGEST_END_S)


class Behind(Generic[T]):
    """Calls a function with each item in order, in a thread, while the next items are computed.

    Args:
        function: takes an item.
        most: how many items wait at once.
        heaviest: how heavy they may be together.
        weight: of an item.
    """

    def __init__(self, function: Callable[[T], object], most: int, heaviest: int, weight: Callable[[T], int]) -> None:
        self._function = function
        self._queue: _Queue[T] = _Queue(most, heaviest, weight)
        # Not the end of the thread: a join that was interrupted takes a running thread for ended (CPython 3.11).
        self._is_done = threading.Event()
        threading.Thread(target=self._work, name="writer", daemon=True).start()

    def put(self, item: T) -> None:
        """Hand over an item; waits while too many wait already. Raises what the function has raised."""
        if not self._queue.put(item):
            self._queue.check()

    def finish(self) -> None:
        """Wait until everything is done. Raises what the function has raised."""
        self._queue.end()
        self._is_done.wait()
        self._queue.check()

    def stop(self) -> None:
        """Drop what still waits, and wait until the item in work is done; after `finish` there is nothing to do."""
        self._queue.stop()
        self._is_done.wait()

    def _work(self) -> None:
        try:
            for item in self._queue:
                self._function(item)
        except BaseException as error:  # noqa: BLE001 - it is raised where the next item is handed over
            self._queue.stop(error)
        finally:
            self._is_done.set()
