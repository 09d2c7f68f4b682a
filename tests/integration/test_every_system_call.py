"""Whatever system call of a save, of the removal of old checkpoints or of a load fails, or is the last one: the run
can go on from a complete checkpoint, and there are never fewer than two."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from system_calls import CALLS, calls_of, require_strace, run_with_fault

from accel_yolo import console
from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.checkpoint_reading import read, verify
from accel_yolo.errors import CheckpointError, EnvironmentFault

pytestmark = pytest.mark.slow

NEW = "step-00000003"
ACTIONS = {"kill": "signal=SIGKILL", "disk full": "error=ENOSPC", "unreadable": "error=EIO"}
MOST = 40
"""More calls of one kind than a save makes."""


def groups(step: int) -> dict[str, dict[str, torch.Tensor]]:
    return {
        stem: {"weight": torch.full((200, 30), float(step)), "bias": torch.arange(5) + step}
        for stem in ("model", "ema", "optimizer")
    }


def save(folder: Path, step: int) -> str:
    """Save a step and return "saved", or the message of the error."""
    console.quiet()
    try:
        CheckpointFolder(folder).write(f"step-{step:08d}", groups(step), {"step": step})
    except EnvironmentFault as error:
        return str(error)
    return "saved"


def load(folder: Path) -> tuple[int, str]:
    """Return the step that is gone on from, 0 when there is none, and the message of the error."""
    console.quiet()
    try:
        newest = CheckpointFolder(folder).newest_valid()
        if newest is None:
            return 0, "none"
        tensors, state = read(newest)
    except (CheckpointError, EnvironmentFault) as error:
        return 0, str(error)
    assert torch.equal(tensors["model"]["weight"], groups(state["step"])["model"]["weight"])
    return state["step"], ""


def complete(folder: Path) -> list[str]:
    """Return the names of the checkpoints that verify."""
    found = []
    for name in CheckpointFolder(folder).names():
        try:
            verify(folder / name)
        except CheckpointError:
            continue
        found.append(name)
    return found


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Any]:
    """Return a function that gives a folder with two complete checkpoints."""
    require_strace()
    original = tmp_path / "original"
    assert save(original, 1) == save(original, 2) == "saved"

    def make() -> Path:
        shutil.rmtree(tmp_path / "checkpoints", ignore_errors=True)
        shutil.copytree(original, tmp_path / "checkpoints")
        return tmp_path / "checkpoints"

    yield make


@pytest.mark.parametrize("action", ACTIONS)
def test_a_save_that_meets_a_fault_costs_nothing_that_was_saved(fresh: Any, tmp_path: Path, action: str) -> None:
    points = 0
    for call in CALLS:
        for when in range(1, MOST):
            folder = fresh()
            done = run_with_fault(call, ACTIONS[action], when, tmp_path, save, folder, 3)
            if not done.hit:
                break
            points += 1
            where = f"{action} at {call} {when}: {done.answer}"
            assert len(complete(folder)) >= 2, where
            expected = {3} if done.answer == "saved" else {2, 3}
            assert load(folder)[0] in expected, where
            if action != "kill" and done.answer != "saved":
                assert "cannot save the checkpoint" in done.answer and str(folder / NEW) in done.answer, where
                assert ("No space left" if action == "disk full" else "Input/output error") in done.answer, where
            CheckpointFolder(folder).remove_leftovers()  # as the next start does
            assert save(folder, 4) == "saved", where
            assert complete(folder)[-1] == "step-00000004", where
            assert not [path.name for path in folder.iterdir() if path.name.startswith(".")], where
        else:
            pytest.fail(f"{call} was hit {MOST} times: the sweep does not reach its end")
    print(f"{action}: {points} points")
    assert points > 30


def test_a_load_that_meets_a_fault_takes_an_older_checkpoint_or_says_so_and_changes_nothing(
    fresh: Any, tmp_path: Path
) -> None:
    points = 0
    for call in ("openat", "read", "newfstatat", "statx", "getdents64", "close"):
        for when in range(1, MOST):
            folder = fresh()
            before = complete(folder)
            done = run_with_fault(call, ACTIONS["unreadable"], when, tmp_path, load, folder)
            if not done.hit:
                break
            points += 1
            step, message = done.answer
            assert step in (1, 2) or message, f"{call} {when}"
            assert complete(folder) == before, f"{call} {when}: a fault of reading damages nothing"
    assert points > 20


def test_everything_is_durable_before_it_has_its_name_and_before_an_older_one_goes(fresh: Any, tmp_path: Path) -> None:
    folder = fresh()
    answer, calls = calls_of(tmp_path, save, folder, 3)
    assert answer == "saved"
    written, synced, named, removed = {}, {}, -1, -1
    for number, call in enumerate(calls):
        if opened := re.match(r'openat\(.*?"([^"]+)", (\S+)', call):
            if "O_CREAT" in opened[2]:
                written[opened[1]] = number
                written[str(Path(opened[1]).parent)] = number  # a name in it
        elif wrote := re.match(r"p?write(?:64)?\(\d+<([^>]+)>", call):
            written[wrote[1]] = number
        elif sync := re.match(r"f(?:data)?sync\(\d+<([^>]+)>\) = 0", call):
            synced[sync[1]] = number
        elif moved := re.match(r'rename(?:at2)?\(.*?"([^"]+)",.*?"([^"]+)"', call):
            if Path(moved[2]).name == NEW:
                temporary, named = moved[1], number
                inside = {path for path in written if path.startswith(temporary)}
                assert len(inside) >= 6, "the folder, three files of tensors, state and manifest"
                assert all(written[path] < synced.get(path, -1) for path in inside), (written, synced)
            elif Path(moved[1]).name == "step-00000001":
                removed = number
                assert synced.get(str(folder), -1) > named > -1, "the old one goes before the new one is durable"
    assert -1 < named < removed, "the new one has its name, and the oldest is gone"
    manifest = max((path for path in written if "manifest" in path), key=lambda path: written[path])
    assert written[manifest] == max(
        number for path, number in written.items() if ".safetensors" in path or path == manifest
    )
