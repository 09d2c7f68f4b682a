"""What a launcher makes of the ends of its processes: small programs that leave word as trainings do."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accel_yolo.config.launching import LaunchPlan
from accel_yolo.engine.endings import STOPPED, Ending
from accel_yolo.engine.network import free_port
from accel_yolo.engine.signals import Signals
from accel_yolo.engine.stores import open_store
from accel_yolo.engine.supervisor import Supervisor

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
shared, code, takes_s = Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
rank, folder = os.environ["RANK"], Path(os.environ["ACCEL_YOLO_LAUNCH_DIR"])
signal.signal(signal.SIGTERM, lambda *_: (shared / "asked").touch())
(shared / f"up-{rank}-{os.environ['TORCHELASTIC_RESTART_COUNT']}").touch()
while not (shared / "asked").exists():
    time.sleep(0.02)
time.sleep(takes_s)
told = {"exit_code": code, "message": f"process {rank} says {code}", "rank": int(rank), "host": "h",
        "time": time.time(), "told_by": int(rank)}
(folder / f"{rank}.json").write_text(json.dumps(told))
sys.exit(code)
"""
LIMIT_S = 40


def supervisor(
    tmp_path: Path, signals: Signals, store: Any, *, code: int, takes_s: float = 0.0, **settings: Any
) -> Supervisor:
    machine = settings.get("machine_rank", 0)
    (folder := tmp_path / f"machine-{machine}").mkdir()
    plan = LaunchPlan(1, use_cpu=True, connect_timeout=20, collective_timeout=30, **settings)
    arguments = ["-c", PROGRAM, "train", str(tmp_path), str(code), str(takes_s)]
    return Supervisor(plan, arguments, folder, store, signals)


def when(holds: Callable[[], object], then: Callable[[], object]) -> threading.Thread:
    """Do something as soon as something holds."""

    def work() -> None:
        end_s = time.monotonic() + LIMIT_S
        while not holds() and time.monotonic() < end_s:
            time.sleep(0.02)
        then()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def is_up(folder: Path, count: int) -> Callable[[], bool]:
    return lambda: len(list(folder.glob("up-*"))) == count


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("code", [75, 143, 7, 1])
def test_a_run_that_was_asked_to_stop_is_not_started_again(tmp_path: Path, code: int) -> None:
    """However it ends: in order, at once, with a full disk, with a fault of ours."""
    with Signals() as signals:
        launcher = supervisor(tmp_path, signals, open_store("", 0), code=code, max_restarts=3)
        when(is_up(tmp_path, 1), stop)
        ending = launcher.run()
    assert (ending.code, ending.message) == (code, f"process 0 says {code}")
    assert [path.name for path in tmp_path.glob("up-*")] == ["up-0-0"]


@pytest.mark.parametrize("asked", [0, 1])
def test_several_machines_end_in_order_with_what_their_processes_say(tmp_path: Path, asked: int) -> None:
    """The signal comes to one launcher; the processes agree, save, and end with 75 on both machines."""
    port = free_port()
    place = {"machines": 2, "main_process_ip": "127.0.0.1", "main_process_port": port, "max_restarts": 3}
    endings: dict[int, Ending] = {}
    with Signals() as signals:
        heard = [Signals(), Signals()]
        heard[asked] = signals
        launchers = [
            supervisor(tmp_path, heard[0], open_store("127.0.0.1", port), code=75, takes_s=0.3, **place),
            supervisor(tmp_path, heard[1], None, code=75, machine_rank=1, **place),
        ]
        threads = [
            threading.Thread(target=lambda n=n: endings.update({n: launchers[n].run()}), daemon=True) for n in (0, 1)
        ]
        for thread in threads:
            thread.start()
        when(is_up(tmp_path, 2), stop)
        for thread in threads:
            thread.join(LIMIT_S)
    assert sorted(endings) == [0, 1]
    for ending in endings.values():
        assert (ending.kind, ending.code) == (STOPPED, 75)
        assert ending.message in ("process 0 says 75", "process 1 says 75")
    assert len(list(tmp_path.glob("up-*"))) == 2, "nobody is started again"


def test_a_signal_ends_the_wait_for_machine_0(tmp_path: Path) -> None:
    with Signals() as signals:
        settings = {"machines": 2, "machine_rank": 1, "main_process_ip": "127.0.0.1", "main_process_port": free_port()}
        launcher = supervisor(tmp_path, signals, None, code=0, **settings)
        threading.Timer(0.5, stop).start()
        began = time.monotonic()
        ending = launcher.run()
    assert (ending.kind, ending.code, ending.message) == (STOPPED, 143, "stopped by SIGTERM")
    assert time.monotonic() - began < 4


def test_a_signal_to_a_machine_that_waits_ends_machine_0(tmp_path: Path) -> None:
    """Three machines are expected and two are there: the stop of one must not leave the other waiting for it."""
    port = free_port()
    place = {"machines": 3, "main_process_ip": "127.0.0.1", "main_process_port": port}
    endings: dict[int, Ending] = {}
    with Signals() as signals:
        first = supervisor(tmp_path, Signals(), open_store("127.0.0.1", port), code=0, **place)
        second = supervisor(tmp_path, signals, None, code=0, machine_rank=1, **place)
        thread = threading.Thread(target=lambda: endings.update({0: first.run()}), daemon=True)
        thread.start()
        threading.Timer(1.0, stop).start()
        began = time.monotonic()
        assert second.run().code == 143
        thread.join(LIMIT_S)
    assert endings[0].code == 143 and endings[0].message.endswith(") has left: stopped by SIGTERM")
    assert endings[0].message.startswith("machine 1 (") and time.monotonic() - began < 10


def test_only_a_training_goes_on_from_checkpoints(tmp_path: Path) -> None:
    """`val --task train` is none."""
    plan = LaunchPlan(1, use_cpu=True, max_restarts=1)
    for words, expected in ((["train"], True), (["val", "--task", "train"], False)):
        launcher = Supervisor(plan, ["-m", "accel_yolo", *words], tmp_path, open_store("", 0), Signals())
        assert launcher._restarts._has_run is expected
