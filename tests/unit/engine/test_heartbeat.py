"""A heartbeat whose store is gone for a while goes on when it is back, and takes nobody for hung meanwhile."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accel_yolo import console
from accel_yolo.engine import heartbeat, stacks
from accel_yolo.engine.heartbeat import Heartbeat
from accel_yolo.engine.launched import LAUNCH_DIR, Launched
from accel_yolo.engine.stores import open_store, with_prefix


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A port of this machine where the processes of a run would meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(number))
    for name in ("TORCHELASTIC_RESTART_COUNT", LAUNCH_DIR):
        monkeypatch.delenv(name, raising=False)
    return number


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    console.log_to(tmp_path / "log.txt")
    yield tmp_path / "log.txt"
    console.log_to(None)


def beats_at(store: object, seconds: float = 15) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if with_prefix("beats-0/", store).check(["beat/0"]):
            return True
        time.sleep(0.05)
    return False


def test_it_goes_on_when_its_store_is_back(
    port: int, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "AGAIN_S", 0.2)
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.1)
    stacks.keep_in(tmp_path, 0)
    store = open_store("127.0.0.1", port)
    beating = Heartbeat(Launched(size=2), timeout_s=0.5)
    try:
        assert beats_at(store)
        del store
        until = time.monotonic() + 15
        while "has lost its store" not in (log.read_text() if log.exists() else ""):
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(1.0)  # longer than it may be silent before its stacks are written
        assert beats_at(open_store("127.0.0.1", port))
        assert log.read_text().count("has lost its store") == 1
    finally:
        beating.end()
        time.sleep(1.0)
        stacks.leave()
    assert not (tmp_path / "stacks-0.txt").exists(), "this process was well all the time"
