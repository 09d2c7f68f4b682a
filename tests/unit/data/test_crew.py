"""The workers that render into shared memory: what they share, how they fail, how they end."""

from __future__ import annotations

import contextlib
import faulthandler
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from accel_yolo.data import crew as crew_module
from accel_yolo.data import whereabouts
from accel_yolo.data.crew import Crew, Task
from accel_yolo.data.slots import Slots
from accel_yolo.errors import DataError, EnvironmentFault

SHAPE = (6, 2, 3, 3)
METHODS = ["fork", "spawn", "forkserver"] if sys.platform != "win32" else ["spawn"]


class Painter:
    """Paints each sample with its position, and tells of a file; some positions are a problem."""

    def __init__(
        self, bad: int = -1, fatal: int = -1, broken: int = -1, slow: int = -1, end: int = signal.SIGKILL
    ) -> None:
        self.bad, self.fatal, self.broken, self.slow, self.end = bad, fatal, broken, slow, end

    def render(self, key: tuple[int, int], into: np.ndarray) -> tuple[int, int]:
        epoch, position = key
        whereabouts.note(f"/data/{position}.jpg")
        if position == self.slow:
            time.sleep(60)
        if position == self.bad:
            raise DataError("damaged", "picture.jpg")
        if position == self.broken:
            raise ZeroDivisionError("our own mistake")
        if position == self.fatal:
            faulthandler.disable()
            os.kill(os.getpid(), self.end)
        into[...] = epoch * 100 + position
        return os.getpid(), position


def task_of(slot: int, epoch: int, first: int) -> Task:
    return Task(SHAPE, tuple((epoch, first + place) for place in range(4, 10)), slot)


def crew_of(
    painter: Painter, count: int, method: str | None = None, patience_s: float = math.inf
) -> tuple[Crew, Slots]:
    slots = Slots(3, int(np.prod(SHAPE)))
    return Crew(painter, slots, count, method, patience_s), slots


@pytest.mark.parametrize(("method", "count"), [(None, 1), (None, 4), (None, 6), *((each, 2) for each in METHODS)])
def test_workers_write_their_places_into_the_shared_batch(method: str | None, count: int) -> None:
    crew, slots = crew_of(Painter(), count, method)
    for slot in (0, 1, 2):
        crew.ask(task_of(slot, 1, 10 * slot))
    for slot in (0, 1, 2):
        answers = crew.answers()
        assert [position for _, position in answers] == [10 * slot + place for place in range(4, 10)]
        assert len({process for process, _ in answers}) == count
        assert slots.view(slot, SHAPE)[:, 0, 0, 0].tolist() == [100 + 10 * slot + place for place in range(4, 10)]
    crew.close()


def test_a_worker_keeps_its_places_from_batch_to_batch() -> None:
    crew, _ = crew_of(Painter(), 3)
    crew.ask(task_of(0, 0, 0))
    crew.ask(task_of(1, 0, 0))
    assert crew.answers() == crew.answers()


def test_workers_may_take_turns_at_small_batches() -> None:
    crew, _ = crew_of(Painter(), 3)
    for turn in range(3):
        crew.ask(Task((1, 2, 3, 3), ((0, 40 + turn),), turn, turn))
    answers = [crew.answers() for _ in range(3)]
    assert [position for [(_, position)] in answers] == [40, 41, 42]
    assert len({process for [(process, _)] in answers}) == 3


def test_an_error_of_a_worker_is_raised_as_it_is() -> None:
    crew, _ = crew_of(Painter(bad=8), 2)
    crew.ask(task_of(0, 0, 0))
    crew.ask(task_of(1, 0, 20))
    with pytest.raises(DataError, match=r"damaged in picture\.jpg"):
        crew.answers()
    assert [position for _, position in crew.answers()] == list(range(24, 30)), "the next batch is whole"


def test_a_mistake_of_ours_is_shown_with_its_traceback() -> None:
    crew, _ = crew_of(Painter(broken=9), 2)
    crew.ask(task_of(0, 0, 0))
    with pytest.raises(RuntimeError, match="ZeroDivisionError: our own mistake") as raised:
        crew.answers()
    assert str(raised.value).startswith("data worker 1 failed at /data/9.jpg:\n"), "worker and file are named"


def test_a_killed_worker_is_named_at_once_with_its_file_and_the_memory() -> None:
    crew, _ = crew_of(Painter(fatal=9), 2)
    crew.ask(task_of(0, 0, 0))
    with pytest.raises(EnvironmentFault) as raised:
        crew.answers()
    message = re.sub(r"[0-9.]+ [GM]iB free", "1 MiB free", str(raised.value))
    assert message == (
        "a data worker is gone in worker 1 of 2: SIGKILL at /data/9.jpg, mostly for want of memory (2 workers, "
        "1 MiB of batches, 1 MiB free now); if memory is short, use fewer --workers; --workers 0 loads without any"
    )


@pytest.mark.parametrize("end", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT], ids=lambda end: end.name)
def test_a_worker_that_crashes_is_named_with_its_file(end: signal.Signals) -> None:
    crew, _ = crew_of(Painter(fatal=4, end=end), 2)
    crew.ask(task_of(0, 0, 0))
    expected = f"a data worker crashed in worker 0 of 2: {end.name} at /data/4.jpg; if the same file does it again, "
    with pytest.raises(EnvironmentFault, match=re.escape(expected)):
        crew.answers()


def test_a_worker_that_hangs_at_a_file_is_named_each_minute_and_stops_the_run_in_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(crew_module, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(crew_module, "WARN_EVERY_S", 0.4)
    crew, _ = crew_of(Painter(slow=7), 2, patience_s=2.2)
    crew.ask(task_of(0, 0, 0))
    expected = r"data worker 1 does not get on in /data/7\.jpg: since \d+ s; look after the disk or the network"
    with pytest.raises(EnvironmentFault, match=expected):
        crew.answers()
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    # Five times are there to warn at. Under load some are slept through; none is told of twice.
    assert 1 <= len(warnings) <= 5 and all("data worker 1 waits for /data/7.jpg since " in line for line in warnings)


def test_the_files_that_workers_are_at_can_be_asked_for() -> None:
    crew, _ = crew_of(Painter(slow=7), 2)
    crew.ask(task_of(0, 0, 0))
    deadline = time.monotonic() + 10
    while crew.files() != ["/data/7.jpg"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert crew.files() == ["/data/7.jpg"], "the other one waits for work"


@pytest.mark.parametrize("path", ["", "/data/4.jpg"])
def test_a_worker_may_wait_for_work_longer_than_for_a_file(path: str) -> None:
    crew, _ = crew_of(Painter(), 1, patience_s=60)
    crew.ask(task_of(0, 0, 0))
    crew.answers()
    hour_ago_ns = time.monotonic_ns() - 3_600_000_000_000
    whereabouts._write_line(crew._desks._row(0)[: whereabouts._LINE], hour_ago_ns, path)
    with pytest.raises(EnvironmentFault, match="since 3600 s") if path else contextlib.nullcontext():
        crew._look_after(0, waited_s=1.0)


def test_a_worker_that_was_stopped_before_it_began_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, _ = crew_of(Painter(), 1, patience_s=1.0)
    crew.ask(task_of(0, 0, 0))
    ((process, _), *_) = crew.answers()
    os.kill(process, signal.SIGSTOP)
    crew.ask(task_of(1, 0, 0))
    expected = (
        rf"data worker 0 does not get on: since \d+ s; process {process} may have been stopped; --workers 0 loads"
    )
    with pytest.raises(EnvironmentFault, match=expected):
        crew.answers()


def test_a_stopped_worker_ends_with_its_crew() -> None:
    crew, _ = crew_of(Painter(), 1)
    crew.ask(task_of(0, 0, 0))
    ((process, _), *_) = crew.answers()
    os.kill(process, signal.SIGSTOP)
    crew.close()
    await_end_of(process)


def test_workers_that_are_busy_are_waited_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "_STOP_S", 2.0)
    crew, _ = crew_of(Painter(slow=4), 6)
    crew.ask(Task(SHAPE, ((0, 4),) * 6))
    pids = [process.pid for process in crew._processes]
    begun_s = time.monotonic()
    crew.close()
    assert time.monotonic() - begun_s < 6 * 2.0 / 2, "not one after the other"
    for pid in pids:
        await_end_of(pid)


def await_end_of(pid: int) -> None:
    """Return when a process that was killed is gone."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(child.pid == pid for child in multiprocessing.active_children()):
        time.sleep(0.02)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_batches_that_nobody_took_are_dropped() -> None:
    crew, _ = crew_of(Painter(bad=5), 2)
    crew.ask(task_of(0, 0, 0))
    crew.ask(task_of(1, 0, 10))
    crew.forget()
    crew.ask(task_of(2, 0, 50))
    assert [position for _, position in crew.answers()] == list(range(54, 60))


def test_workers_end_with_their_crew() -> None:
    crew, _ = crew_of(Painter(), 2)
    crew.ask(task_of(0, 0, 0))
    processes = {process for process, _ in crew.answers()}
    del crew
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


RENDERING_FOR_EVER = """
import os, sys, time
from accel_yolo.data.crew import Crew, Task
from accel_yolo.data.slots import Slots

class Sleeper:
    def render(self, key, into):
        if key[1]:
            time.sleep(60)
        return os.getpid()

if __name__ == "__main__":
    crew = Crew(Sleeper(), Slots(2, 3), 1, sys.argv[1])
    crew.ask(Task((1, 1, 1, 3), ((0, 0),)))
    crew.ask(Task((1, 1, 1, 3), ((0, 1),), 1))
    print(crew.answers()[0], flush=True)
    crew.answers()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
@pytest.mark.parametrize("method", METHODS)
def test_a_worker_ends_at_once_with_a_killed_process(method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(RENDERING_FOR_EVER)
    process = subprocess.Popen([sys.executable, str(program), method], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert int(process.stdout.readline()) != process.pid
    process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    # The worker has inherited the pipe: reading it to its end waits for it.
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert time.monotonic() - killed < 4, "far from the end of its sleep"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems share memory through files")
def test_shared_batches_take_no_room_in_dev_shm() -> None:
    before = set(os.listdir("/dev/shm"))  # noqa: PTH208
    slots = Slots(4, 50_000_000)
    slots.view(3, (50_000_000,))[...] = 1
    assert set(os.listdir("/dev/shm")) <= before  # noqa: PTH208
