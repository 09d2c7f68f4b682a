"""Worker processes that render places of batches into shared slots, each its own places of every batch."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import time
import traceback
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np

from accel_yolo import console
from accel_yolo.data import whereabouts
from accel_yolo.data.room import amount, free_memory_bytes
from accel_yolo.data.slots import Slots
from accel_yolo.data.whereabouts import Desks
from accel_yolo.data.workers import start_worker
from accel_yolo.errors import EnvironmentFault, UserError, printable
from accel_yolo.lifeline import leave_signals_to_the_run

LOOK_EVERY_S = 5.0
"""Seconds between two looks at a worker that does not answer."""

WARN_EVERY_S = 60.0
"""Seconds between two warnings about a worker that is at the same file."""

_CRASHES = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")
_STOP_S = 1.0
"""How long workers that were asked to end may take, all together, before they are ended."""


@dataclass(frozen=True)
class Task:
    """A batch to render.

    Attributes:
        shape: [B, H, W, 3].
        keys: of its B samples.
        slot: where it is written.
        turn: which worker begins. Left alone, a worker has the same places of all batches of a size.
    """

    shape: tuple[int, int, int, int]
    keys: tuple[Any, ...]
    slot: int = 0
    turn: int = 0

    def part(self, number: int, count: int) -> range:
        """Return the places of the batch that worker `number` of `count` renders."""
        number = (number + self.turn) % count
        return range(len(self.keys) * number // count, len(self.keys) * (number + 1) // count)


class Renders(Protocol):
    """What the workers do."""

    def render(self, key: Any, into: np.ndarray, /) -> Any:
        """Write the sample of a key into uint8 [H, W, 3] and return what else there is to say of it."""
        ...


class Crew:
    """The workers of a process. They end with it, however it ends.

    Args:
        renderer: what they do; sent to each of them once.
        slots: where they write. The places of a batch are shared out evenly.
        count: workers, at least 1.
        start_method: how they are started; None takes the platform's default.
        patience_s: how long a worker may be at one file.
    """

    def __init__(
        self,
        renderer: Renders,
        slots: Slots,
        count: int,
        start_method: str | None = None,
        patience_s: float = math.inf,
    ) -> None:
        context: Any = multiprocessing.get_context(start_method)
        self._connections: list[Connection] = []
        self._slots, self._desks, self._patience_s = slots, Desks(count), patience_s
        self._warned: dict[int, tuple[str, int]] = {}
        self._changes, self._changed = [0] * count, set[str]()
        self._asked: deque[Task] = deque()
        processes = []
        for number in range(count):
            ours, theirs = context.Pipe()
            mine = (theirs, renderer, slots, (number, count), self._desks)
            process = context.Process(target=_work, args=mine, daemon=True, name=f"data worker {number}")
            process.start()
            theirs.close()  # so that the end of the worker is the end of the pipe
            self._connections.append(ours)
            processes.append(process)
        self._processes = processes
        self.close = weakref.finalize(self, _stop, os.getpid(), self._connections, processes)

    def ask(self, task: Task) -> None:
        """Have every worker render its places of a batch."""
        self._asked.append(task)
        for number, connection in enumerate(self._connections):
            with self._named_death(number):
                connection.send(task)

    def answers(self) -> list[Any]:
        """Return what the workers say about the samples of the batch that was asked for first, in order of places.

        Raises:
            UserError: a worker met one.
            EnvironmentFault: a worker is gone, or has been at one file for too long.
        """
        task, count = self._asked.popleft(), len(self._connections)
        found: list[Any] = []
        for number, connection in enumerate(self._connections):
            with self._named_death(number):
                begun = time.monotonic()
                while not connection.poll(min(LOOK_EVERY_S, self._patience_s / 4)):
                    self._look_after(number, time.monotonic() - begun)
                found.append(connection.recv())
        self._warn_of_changes()
        said: list[Any] = [None] * len(task.keys)
        for number, answer in enumerate(found):
            if isinstance(answer, UserError):
                raise answer
            if isinstance(answer, str):
                at = self._desks.of(number).path
                raise RuntimeError(f"data worker {number} failed{f' at {printable(at)}' if at else ''}:\n{answer}")
            places = task.part(number, count)
            said[places.start : places.stop] = answer
        return said

    def files(self) -> list[str]:
        """Return the files that the workers are at."""
        return [path for number in range(len(self._processes)) if (path := self._desks.of(number).path)]

    def forget(self) -> None:
        """Wait for the batches that were asked for and not taken, and drop them."""
        while self._asked:
            with contextlib.suppress(UserError, RuntimeError):
                self.answers()

    def _look_after(self, number: int, waited_s: float) -> None:
        """Say every minute that a worker has been at one file all that time, or has not even begun with one.

        Raises:
            EnvironmentFault: it has been there for too long.
        """
        at = self._desks.of(number)
        if not at.path:  # it was stopped before it began, or needs no files
            at = replace(at, seconds=waited_s)
        who, file = f"data worker {number}", printable(at.path)
        if at.seconds >= self._patience_s:
            self._asked.clear()
            remedy = "look after the disk or the network it lies on; a longer --collective-timeout waits longer"
            if not file:
                remedy = f"process {self._processes[number].pid} may have been stopped; --workers 0 loads without any"
            raise EnvironmentFault(f"{who} does not get on", file, f"since {at.seconds:.0f} s", remedy)
        minute = int(at.seconds // WARN_EVERY_S)
        if minute and self._warned.get(number) != (at.path, minute):
            self._warned[number] = at.path, minute
            what = f"waits for {file}" if file else "does not answer"
            console.warn(f"{who} {what} since {at.seconds:.0f} s", everywhere=True)

    def _warn_of_changes(self) -> None:
        """Warn of files that workers found changed since this was last called, each once."""
        for number, known in enumerate(self._changes):
            count, path = self._desks.changes(number)
            self._changes[number] = count
            if count > known and path not in self._changed:
                self._changed.add(path)
                whereabouts.warn_of_change(path, count - known - 1)

    @contextlib.contextmanager
    def _named_death(self, number: int) -> Any:
        try:
            yield
        except (EOFError, ConnectionError, BrokenPipeError):
            self._processes[number].join(_STOP_S)
            code, count = self._processes[number].exitcode, len(self._processes)
            why = signal.Signals(-code).name if code is not None and code < 0 else f"exit status {code}"
            path = self._desks.of(number).path
            at = f" at {printable(path)}" if path else ""
            self._asked.clear()
            where = f"worker {number} of {count}"
            if why in _CRASHES:
                remedy = "if the same file does it again, replace it or leave it out"
                raise EnvironmentFault("a data worker crashed", where, f"{why}{at}", remedy) from None
            if why == "SIGKILL":
                room = f"{amount(self._slots.memory.count)} of batches, {amount(free_memory_bytes())} free now"
                at += f", mostly for want of memory ({count} workers, {room})"
            remedy = "if memory is short, use fewer --workers; --workers 0 loads without any"
            raise EnvironmentFault("a data worker is gone", where, f"{why}{at}", remedy) from None


def _work(connection: Connection, renderer: Renders, slots: Slots, number_of: tuple[int, int], desks: Desks) -> None:
    """Render until told to stop."""
    start_worker()
    leave_signals_to_the_run()
    desks.take(number_of[0])
    with contextlib.suppress(EOFError, ConnectionError, BrokenPipeError):
        while (task := connection.recv()) is not None:
            answer = _answer(task, renderer, slots, task.part(*number_of))
            if not isinstance(answer, str):  # else where it failed is asked for
                whereabouts.note("")
            connection.send(answer)


def _answer(task: Task, renderer: Renders, slots: Slots, places: range) -> Sequence[Any] | UserError | str:
    batch = slots.view(task.slot, task.shape)
    try:
        return [renderer.render(task.keys[place], batch[place]) for place in places]
    except UserError as error:
        return error
    except Exception:  # noqa: BLE001 - told to the process, which stops the run
        return traceback.format_exc()


def _stop(owner: int, connections: Sequence[Connection], processes: Sequence[Any]) -> None:
    if os.getpid() != owner:  # a forked copy of the crew's process
        return
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.send(None)
    until_s = time.monotonic() + _STOP_S
    for process in processes:
        process.join(max(until_s - time.monotonic(), 0.0))
    for process in processes:
        if process.is_alive():
            process.kill()  # one that is stopped does not hear anything else
    for connection in connections:
        connection.close()
