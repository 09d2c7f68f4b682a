"""Machine 0, as the launcher of another machine sees it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import uuid
from dataclasses import asdict, replace
from typing import Any

from accel_yolo import console
from accel_yolo.config.launching import LaunchPlan
from accel_yolo.engine.endings import STOPPED, Ending, lost
from accel_yolo.engine.meeting import (
    ANSWER_S,
    ARRIVED,
    END,
    ENDED,
    GO,
    LEFT,
    LOOK_S,
    ORDER,
    OVER,
    ROW,
    STALE_LEAST_S,
    TOLD_EVERY_S,
    WAIT,
    Order,
    Row,
    Tick,
    not_met,
)
from accel_yolo.engine.network import await_machine_zero, local_address_towards
from accel_yolo.engine.stores import client_of
from accel_yolo.errors import PeerError


class Host:
    """Machine 0, as another machine sees it through a thread of its own: a cut network cannot stop the launcher."""

    def __init__(self, plan: LaunchPlan) -> None:
        self._plan, self.place = plan, f"machine 0 ({plan.main_process_ip})"
        address = local_address_towards(plan.main_process_ip)
        self._lock = threading.Lock()
        self._row = Row(uuid.uuid4().hex, plan.machine_rank, socket.gethostname(), address, plan.processes)
        self._told, self._order, self._begun, self._connections = self._row, Order(), Order(), 0
        self._heard, self._is_gone = time.monotonic(), False

    def connect(self, tick: Tick) -> None:
        """Wait for machine 0, also after it was lost, and talk with it from now on. Raises PeerError."""
        await_machine_zero(self._plan.main_process_ip, self._plan.main_process_port, self._plan.connect_timeout, tick)
        self._heard, self._is_gone = time.monotonic(), False
        self._connections += 1
        threading.Thread(target=self._talk, args=(self._connections,), daemon=True, name="machine 0").start()

    def say(self, **changes: Any) -> None:
        """Tell machine 0 how this machine fares."""
        with self._lock:  # the thread that talks changes the row too
            self._row = replace(self._row, **changes)

    def tell(self, ending: Ending) -> None:
        """Tell machine 0 how the start that it ordered has ended here; one that was started again knows of none."""
        with self._lock:
            if self._order.by == self._begun.by:
                self._row = replace(self._row, state=ENDED, start=self._begun.start, ending=ending.to_json())

    def leave(self, ending: Ending) -> None:
        """Tell machine 0 that this machine goes, and why: nobody is to wait for it."""
        self.say(state=LEFT, ending=ending.to_json())
        end_s = time.monotonic() + ANSWER_S
        while self._connections and self._told.state != LEFT and self._order.kind != OVER:
            if self.trouble() is not None or time.monotonic() > end_s:
                return
            time.sleep(LOOK_S / 3)

    def goes_on(self) -> bool:
        """Return whether the start that was begun here is still what machine 0 asks for."""
        order = self._order
        return (order.kind, order.by, order.start) == (GO, self._begun.by, self._begun.start)

    def ended_elsewhere(self) -> Ending:
        """Return why this machine ends its processes, when machine 0 asks for something else."""
        order = self._order
        if order.kind == END and order.ending and order.ending["kind"] == STOPPED:
            return Ending.from_json(order.ending)
        return lost("another machine has ended")

    def trouble(self) -> Ending | None:
        """Return that machine 0 is lost; None while it is there."""
        silent_s = time.monotonic() - self._heard
        if self._is_gone or silent_s > max(self._plan.collective_timeout, STALE_LEAST_S):
            return lost(f"lost contact with {self.place}")
        return None

    def await_order(self, tick: Tick) -> Order:
        """Return the order to begin a start, which is then begun, or to leave.

        Raises:
            PeerError: machine 0 is gone, or says nothing for too long.
        """
        begun, told = time.monotonic(), time.monotonic()
        while True:
            tick()
            order = self._order
            is_new = (order.by, order.start) != (self._begun.by, self._begun.start)
            if order.kind == OVER or (order.kind == GO and is_new):
                self._begun = order
                return order
            if (ending := self.trouble()) is not None:
                raise PeerError(ending.message, remedy="look at what it says")
            if time.monotonic() - told >= TOLD_EVERY_S:
                console.note(f"waiting for {order.missing or self.place}")
                told = time.monotonic()
            if time.monotonic() - begun > self._plan.connect_timeout + STALE_LEAST_S:
                raise not_met(self._plan, order.missing or self.place)
            time.sleep(LOOK_S)

    def await_answer(self, tick: Tick, within_s: float = ANSWER_S) -> Order | None:
        """Return the order that follows when this machine has told its ending; None when it does not come in time."""
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s and self.trouble() is None:
            tick()
            order = self._order
            if order.kind in (OVER, WAIT) or (order.by, order.start) != (self._begun.by, self._begun.start):
                return order
            time.sleep(LOOK_S)
        return self._order if self._order.kind == OVER else None

    def _talk(self, connection: int) -> None:
        plan = self._plan
        with contextlib.suppress(RuntimeError):  # of a connection that is gone
            store = client_of(plan.main_process_ip, plan.main_process_port, plan.connect_timeout)
            order = _order_in(store)
            if not self._begun.by and order.kind == GO:  # given before anybody knew of this machine: not to it
                self._begun = order
            while connection == self._connections:
                self._write(store)
                order = _order_in(store)
                if connection != self._connections:
                    return
                if order.kind == OVER:
                    with contextlib.suppress(RuntimeError):
                        self._write(store, has_heard=True)  # before this launcher may end
                    self._order = order
                    return
                self._take(order)
                self._heard = time.monotonic()
                time.sleep(LOOK_S)
        self._is_gone = True

    def _take(self, order: Order) -> None:
        with self._lock:
            # Machine 0 was started again, and knows nothing of this machine.
            if order.by != self._order.by and self._row.state != LEFT:
                self._row = replace(self._row, state=ARRIVED, start=-1, ending=None)
            self._order = order

    def _write(self, store: Any, **changes: Any) -> None:
        with self._lock:
            self._row = row = replace(self._row, beat=self._row.beat + 1, **changes)
        store.set(f"{ROW}{self._plan.machine_rank}", json.dumps(asdict(row)))
        self._told = row


def _order_in(store: Any) -> Order:
    content = json.loads(store.get(ORDER))
    return Order(**{**content, "more": tuple(content["more"])})
