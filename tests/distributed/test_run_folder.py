"""The files of a run, seen from processes that do not write them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import tiny_config

from accel_yolo.engine import run_folder, run_lock
from accel_yolo.engine.run_folder import RunFolder
from accel_yolo.engine.sessions import session
from accel_yolo.engine.world import World
from accel_yolo.errors import EnvironmentFault, UserError


def read_after_a_slow_write(folder: Path) -> dict[str, int]:
    world = World.start("cpu")
    write = run_folder.write_text_atomic

    def slowly(path: Path, content: str) -> None:
        time.sleep(1)
        write(path, content)

    run_folder.write_text_atomic = slowly
    RunFolder(folder, world, (tiny_config(folder, folder), {})).write_json("metrics.json", {"images": 9})
    return json.loads((folder / "metrics.json").read_text())


def test_a_file_is_there_for_every_process_when_writing_it_returns(run_processes: Callable, tmp_path: Path) -> None:
    assert run_processes(2, read_after_a_slow_write, tmp_path) == [{"images": 9}] * 2


def write_on_a_full_disk(folder: Path) -> str:
    world = World.start("cpu")

    def fails(path: Path, content: str) -> None:
        raise EnvironmentFault("cannot write", str(path), "no space left")

    run_folder.write_text_atomic = fails
    with pytest.raises(UserError) as caught:
        RunFolder(folder, world, (tiny_config(folder, folder), {})).write_json("metrics.json", {})
    return type(caught.value).__name__


def test_a_file_that_cannot_be_written_stops_every_process(run_processes: Callable, tmp_path: Path) -> None:
    assert run_processes(2, write_on_a_full_disk, tmp_path) == ["EnvironmentFault", "StoppedByPeer"]


def facts_of_a_start() -> dict[str, object]:
    return session(0, [], World.start("cpu"))["environment"]


def test_only_the_process_that_writes_them_collects_facts(run_processes: Callable) -> None:
    written, others = run_processes(2, facts_of_a_start)
    assert "torch" in written and others == {}


def heard_while_a_folder_was_taken(folder: Path) -> list[str]:
    world, heard = World.start("cpu"), []
    run_lock.WATCHED_S = 0.8
    share = world.share_text
    world.share_text = lambda text: heard.append(share(text)) or heard[-1]
    run = RunFolder(folder, world, (tiny_config(folder, folder), {}))
    run._take()
    with run.held():
        return heard


def test_all_hear_from_the_leader_while_it_watches_a_folder_that_another_host_has_left(
    run_processes: Callable, tmp_path: Path
) -> None:
    """A message may take less time than the minute of a lease: those that wait must not take the leader for hung."""
    lease = {"host": "elsewhere", "pid": 1, "born": 5, "since": "2026-01-01 00:00:00"}
    (tmp_path / run_lock.NAME).write_text(json.dumps(lease))
    first, second = run_processes(2, heard_while_a_folder_was_taken, tmp_path)
    assert first == second and first[-1] == ""
    assert len(first) > 1 and set(first[:-1]) == {"waiting"}
    assert not (tmp_path / run_lock.NAME).exists()
