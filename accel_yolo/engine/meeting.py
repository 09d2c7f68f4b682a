"""How the launchers of several machines agree: who is there, when a start begins, how it ended.

The store of machine 0 holds one row of each machine, which says how it fares, and one order, which machine 0 writes.
A machine that went away and was started again writes its row with a new name; the order tells it when to begin.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from accel_yolo import console
from accel_yolo.config.launching import LaunchPlan
from accel_yolo.engine.endings import FINISHED, LOST, Ending, failure_of_launcher, lost
from accel_yolo.engine.failures import numbered
from accel_yolo.errors import ConfigError, PeerError

WAIT, GO, END, OVER = "wait", "go", "end", "over"
"""Orders: wait for the others, begin a start, end it, leave."""

ARRIVED, RUNNING, ENDED, LEFT = "arrived", "running", "ended", "left"
"""How a machine fares; one that has left will not come back by itself."""

TOLD_EVERY_S = 10.0
"""How often it is said for whom a launcher waits."""

LOOK_S, STALE_LEAST_S = 0.15, 5.0
"""Between two looks at the store; how long a launcher must be silent, at least, before it counts as lost."""

ANSWER_S = 4.0
"""How long a launcher waits for what the others say of an ending."""

QUIET_S = 2.0
"""A launcher that says nothing for so long, after a run has failed, is not waited for."""

HEARD_S = 10.0
"""How long machine 0 waits, at most, until the others know how the run ended."""

ROW, ORDER = "launchers/row/", "launchers/order"
Tick = Callable[[], None]


@dataclass(frozen=True)
class Order:
    """What machine 0 asks of all.

    Attributes:
        kind: one of the orders.
        start: number of the start that is meant, from 0.
        more: words to add to the command.
        missing: whom it waits for, in words.
        ending: how the run ended (OVER).
        by: name of the launcher of machine 0: another one after it was started again.
    """

    kind: str = WAIT
    start: int = 0
    by: str = ""
    more: tuple[str, ...] = ()
    missing: str = ""
    ending: dict[str, Any] | None = None


@dataclass(frozen=True)
class Row:
    """How a machine fares.

    Attributes:
        name: of its launcher: another one after it was started again.
        machine, host, address: which machine it is.
        processes: on it.
        state: one of the states, of the start `start`.
        ending: of that start, once it has ended.
        beat: grows as long as its launcher lives.
        has_heard: it knows how the run ended.
    """

    name: str
    machine: int
    host: str
    address: str
    processes: int
    state: str = ARRIVED
    start: int = -1
    ending: dict[str, Any] | None = None
    beat: int = 0
    has_heard: bool = False

    @property
    def place(self) -> str:
        """The machine in words."""
        return f"machine {self.machine} ({self.host}, {self.address})"


@dataclass
class _Seen:
    row: Row | None = None
    since: float = field(default_factory=time.monotonic)
    earlier: set[str] = field(default_factory=set)


class Guests:
    """What machine 0 knows of the other machines, and tells them."""

    def __init__(self, plan: LaunchPlan, store: Any) -> None:
        self._plan, self._store = plan, store
        self._seen = {machine: _Seen() for machine in range(1, plan.machines)}
        self._began: dict[int, str] = {}
        self._name = uuid.uuid4().hex
        self.order(Order())

    def order(self, order: Order) -> None:
        """Tell all machines what to do."""
        self._store.set(ORDER, json.dumps(asdict(replace(order, by=self._name))))

    def look(self) -> None:
        """Read what the machines say.

        Raises:
            ConfigError: two machines have one number, or the machines start different numbers of processes.
        """
        for machine, seen in self._seen.items():
            if not self._store.check([f"{ROW}{machine}"]):
                continue
            row = Row(**json.loads(self._store.get(f"{ROW}{machine}")))
            if row.name in seen.earlier:
                remedy = "number the machines from 0, each with a --machine-rank of its own"
                raise ConfigError("two machines have one number", "--machine-rank", machine, remedy)
            if row.processes != self._plan.processes:
                shown = f"{self._plan.processes} on machine 0, {row.processes} on {row.place}"
                raise ConfigError("machines start different numbers of processes", "--processes", shown)
            if seen.row is None or row != seen.row:
                if seen.row is not None and row.name != seen.row.name:
                    seen.earlier.add(seen.row.name)
                seen.row, seen.since = row, time.monotonic()

    def meet(self, start: int, tick: Tick) -> Ending | None:
        """Wait until all machines are ready for a start; return how the run ends if one has left instead.

        Raises:
            PeerError: they were not in time.
        """
        begun, told = time.monotonic(), time.monotonic()
        while missing := [machine for machine in self._seen if not self._is_ready(machine, start)]:
            tick()
            self.look()
            if (ending := self._left()) is not None:
                return ending
            who = self._words(missing)
            self.order(Order(WAIT, start, missing=who))
            if time.monotonic() - told >= TOLD_EVERY_S:
                console.note(f"waiting for {who}")
                told = time.monotonic()
            if time.monotonic() - begun > self._plan.connect_timeout:
                raise not_met(self._plan, who)
            time.sleep(LOOK_S)
        self._began = {machine: seen.row.name for machine, seen in self._seen.items() if seen.row is not None}
        return None

    def trouble(self, start: int) -> Ending | None:
        """Return why a running start cannot go on, as far as other machines are the reason; None while it can."""
        self.look()
        for machine, seen in self._seen.items():
            row = seen.row
            if row is None:
                continue
            if row.name != self._began.get(machine):
                return lost(f"lost contact with {row.place}, which has been started again")
            if _has_told(row, start) and row.ending and row.ending["kind"]:
                return Ending.from_json(row.ending)
            if time.monotonic() - seen.since > max(self._plan.collective_timeout, STALE_LEAST_S):
                return lost(f"lost contact with {row.place}")
        return None

    def endings(self, start: int, tick: Tick, within_s: float = ANSWER_S) -> list[Ending]:
        """Return how a start ended on the other machines that say so within a time, or as long as all is well."""
        end_s = time.monotonic() + within_s
        while True:
            tick()
            if math.isinf(end_s) and (trouble := self.trouble(start)) is not None:
                return [trouble]
            self.look()
            told = [seen for seen in self._seen.values() if seen.row is not None and _has_told(seen.row, start)]
            silences_s = [time.monotonic() - seen.since for seen in self._seen.values() if seen not in told]
            # While all is well, somebody who is silent for a moment may still be at work.
            is_in_vain = math.isfinite(end_s) and min(silences_s, default=math.inf) > QUIET_S
            if not silences_s or is_in_vain or time.monotonic() > end_s:
                return [Ending.from_json(seen.row.ending) for seen in told if seen.row and seen.row.ending]
            time.sleep(LOOK_S)

    def silent(self) -> Ending | None:
        """Return that the launcher of another machine has gone, None when all are there."""
        rows = [seen.row for seen in self._seen.values() if time.monotonic() - seen.since > QUIET_S]
        return next((lost(f"lost contact with {row.place}") for row in rows if row is not None), None)

    def dismiss(self, ending: Ending) -> None:
        """Tell the other machines how the run ended, and wait until those that are there know it: the store goes then.

        After a failure those that have fallen silent are not waited for.
        """
        self.order(Order(OVER, ending=ending.to_json()))
        begun, quiet_s = time.monotonic(), HEARD_S if ending.kind == FINISHED else QUIET_S
        time.sleep(4 * LOOK_S)  # for those who come only now
        while time.monotonic() - begun < HEARD_S:
            with contextlib.suppress(ConfigError):  # it is why they are dismissed
                self.look()
            rows = [seen.row for seen in self._seen.values() if time.monotonic() - seen.since < quiet_s]
            if all(row is None or row.has_heard or row.state == LEFT for row in rows):
                return
            time.sleep(LOOK_S)

    def _left(self) -> Ending | None:
        """Return how the run ends because a machine has left; None while none has."""
        for row in (seen.row for seen in self._seen.values()):
            if row is not None and row.state == LEFT and row.ending:
                told = Ending.from_json(row.ending)
                words = f"{row.place} has left" + (f": {told.message}" if told.message else "")
                return Ending(told.kind or LOST, told.code, failure_of_launcher(words, told.code))
        return None

    def _is_ready(self, machine: int, start: int) -> bool:
        seen = self._seen[machine]
        if seen.row is None or time.monotonic() - seen.since > STALE_LEAST_S:
            return False
        if seen.row.name != self._began.get(machine):
            return seen.row.state in (ARRIVED, ENDED)  # it may have ended a start of another launcher of machine 0
        return seen.row.state == ENDED and seen.row.start == start - 1

    def _words(self, missing: Sequence[int]) -> str:
        parts = []
        for machine in missing:
            row, first = self._seen[machine].row, machine * self._plan.processes
            name = f"{machine} ({row.host})" if row is not None else str(machine)
            parts.append(f"machine {name}, {numbered(range(first, first + self._plan.processes))}")
        return f"{len(missing)} of {self._plan.machines} machines: {'; '.join(parts)}"


def _has_told(row: Row, start: int) -> bool:
    """Return whether a machine has told how a start ended."""
    return row.state in (ENDED, LEFT) and row.start == start and row.ending is not None


def not_met(plan: LaunchPlan, missing: str) -> PeerError:
    """Return the error of a launcher that has waited in vain for `missing`."""
    place = f"{plan.main_process_ip}:{plan.main_process_port}"
    shown = f"after {plan.connect_timeout} s it waits for {missing}"
    return PeerError("the machines did not meet", place, shown, "start all of them, with one address")
