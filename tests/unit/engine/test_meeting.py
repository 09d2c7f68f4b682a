"""How the launchers of several machines agree, over a real store; the machines are threads of one process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from accel_yolo.config.launching import LaunchPlan
from accel_yolo.engine import host as host_module
from accel_yolo.engine import meeting
from accel_yolo.engine.endings import LOST, STOPPED, Ending, failure_of_launcher, lost
from accel_yolo.engine.host import Host
from accel_yolo.engine.meeting import ENDED, GO, OVER, RUNNING, WAIT, Guests, Order
from accel_yolo.engine.stores import open_store

WELL = lambda: None  # noqa: E731
PLAN = LaunchPlan(
    1, use_cpu=True, machines=2, main_process_ip="127.0.0.1", connect_timeout=20, collective_timeout=30, max_restarts=3
)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "QUIET_S", 0.7)
    monkeypatch.setattr(meeting, "HEARD_S", 3.0)


@pytest.fixture
def meeting_point() -> Iterator[tuple[Guests, LaunchPlan]]:
    """Machine 0, and the plan of machine 1."""
    store = open_store("127.0.0.1", 0)
    yield (
        Guests(replace(PLAN, main_process_port=store.port), store),
        replace(PLAN, main_process_port=store.port, machine_rank=1),
    )


def connected(plan: LaunchPlan) -> Host:
    host = Host(plan)
    host.connect(WELL)
    return host


def aside(work: Callable[[], Any]) -> Callable[[], Any]:
    """Begin something in a thread and return a function that waits for its result."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()

    def result() -> Any:
        thread.join(30)
        assert found, "it did not end"
        return found[0]

    return result


def begun(guests: Guests, plan: LaunchPlan, start: int = 0) -> Host:
    """Return machine 1 in a start."""
    host = connected(plan)
    assert guests.meet(start, WELL) is None
    guests.order(Order(GO, start))
    assert host.await_order(WELL).kind == GO
    host.say(state=RUNNING, start=start)
    return host


@contextlib.contextmanager
def stalled(host: Host) -> Iterator[None]:
    """A machine that is stopped for a while: it neither hears nor says anything."""
    with host._lock:
        yield


def test_a_launcher_that_comes_again_waits_for_the_next_start(meeting_point: tuple[Guests, LaunchPlan]) -> None:
    """It comes before machine 0 has missed the one before: the order to begin that it finds is not meant for it."""
    guests, plan = meeting_point
    begun(guests, plan)._connections += 1  # it has gone: it writes no more
    again = connected(plan)
    order = aside(lambda: again.await_order(WELL))
    while (trouble := guests.trouble(0)) is None:
        time.sleep(0.01)
    assert trouble.message.endswith("which has been started again") and trouble.kind == LOST
    guests.order(Order(WAIT, 1))
    assert guests.meet(1, WELL) is None, "it is ready"
    guests.order(Order(GO, 1))
    assert (order().kind, order().start) == (GO, 1)


def test_a_machine_0_that_comes_again_finds_the_others_ready(meeting_point: tuple[Guests, LaunchPlan]) -> None:
    guests, plan = meeting_point
    host = begun(guests, plan)
    another = Guests(replace(plan, machine_rank=0), guests._store)
    while host.goes_on():
        time.sleep(0.01)
    host.tell(lost("another machine has ended"))
    assert host.await_answer(WELL) is not None
    assert another.meet(0, WELL) is None
    another.order(Order(GO, 0))
    assert host.await_order(WELL).by == another._name
    time.sleep(3 * meeting.LOOK_S)
    assert another.trouble(0) is None, "what was told to the other one does not count"


def test_a_machine_that_leaves_is_not_waited_for(meeting_point: tuple[Guests, LaunchPlan]) -> None:
    guests, plan = meeting_point
    host = begun(guests, plan)
    host.tell(lost("another machine has ended"))
    host.leave(Ending(STOPPED, 143, failure_of_launcher("stopped by SIGTERM", 143)))
    ending = guests.meet(1, WELL)
    assert ending is not None and (ending.kind, ending.code) == (STOPPED, 143)
    assert ending.message.startswith("machine 1 (") and ending.message.endswith(") has left: stopped by SIGTERM")


def test_all_hear_how_a_run_ended_before_machine_0_goes(meeting_point: tuple[Guests, LaunchPlan]) -> None:
    guests, plan = meeting_point
    host = begun(guests, plan)
    host.tell(Ending())
    assert guests.endings(0, WELL, float("inf")) == [Ending()]
    answer = aside(lambda: host.await_answer(WELL, float("inf")))
    with stalled(host):
        dismissed = threading.Thread(target=lambda: guests.dismiss(Ending()), daemon=True)
        dismissed.start()
        dismissed.join(meeting.QUIET_S + 0.6)
        assert dismissed.is_alive(), "machine 1 has not heard it"
    dismissed.join(10)
    assert not dismissed.is_alive() and answer().kind == OVER


@pytest.mark.parametrize(
    ("ending", "least_s", "most_s"), [(Ending(), 2.5, 10.0), (lost("gone"), 0.5, 2.0)], ids=["finished", "failed"]
)
def test_who_is_gone_is_waited_for_only_so_long(
    meeting_point: tuple[Guests, LaunchPlan], ending: Ending, least_s: float, most_s: float
) -> None:
    guests, plan = meeting_point
    begun(guests, plan)._connections += 1
    began = time.monotonic()
    guests.dismiss(ending)
    assert least_s < time.monotonic() - began < most_s


def test_a_machine_that_is_silent_for_a_moment_may_be_at_work(meeting_point: tuple[Guests, LaunchPlan]) -> None:
    guests, plan = meeting_point
    host = begun(guests, plan)
    ended = aside(lambda: guests.endings(0, WELL, float("inf")))
    with stalled(host):
        time.sleep(meeting.QUIET_S + 0.6)  # this is what the test is about
    host.tell(lost("a process of machine 1"))
    (ending,) = ended()
    assert ending.message == "a process of machine 1"


def test_what_a_launcher_says_is_not_lost_between_two_beats(
    meeting_point: tuple[Guests, LaunchPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(row: Any, **changes: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.05)
        return replace(row, **changes)

    guests, plan = meeting_point
    host = begun(guests, plan)
    monkeypatch.setattr(host_module, "LOOK_S", 0.0)
    monkeypatch.setattr(host_module, "replace", slowly)
    for number in range(1, 11):
        host.say(state=ENDED, start=number)
        beat = host._row.beat
        while host._row.beat < beat + 2:
            time.sleep(0.005)
        assert host._row.start == number
