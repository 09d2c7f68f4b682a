"""Whatever system call of a save, of the removal of old checkpoints or of a load fails, or is the last one: the run
can go on from a complete checkpoint, and there are never fewer than two."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from system_calls import CALLS, calls_of, require_strace, run_with_fault

from accel_yolo import console
from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.checkpoint_reading import read, verify
from accel_yolo.engine.weight_files import WeightFiles
from accel_yolo.errors import CheckpointError, EnvironmentFault

pytestmark = pytest.mark.slow

NEW = "step-00000003"
ACTIONS = {"kill": "signal=SIGKILL", "disk full": "error=ENOSPC", "unreadable": "error=EIO"}
CHANGING = [call for call in CALLS if call not in ("read", "close", "newfstatat", "statx", "statfs", "getdents64")]
MET_BY = {"kill": CHANGING, "disk full": [*CHANGING, "close"], "unreadable": CALLS}
"""Calls of a save that an action is tried at. Killed at one that only looks, it leaves what the one before left; and a
full disk is told by those that write, if not by the one that closes."""

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
    # For its first comparison torch reads what the processor is, and crashes when the kernel does not say it.
    assert torch.equal(torch.arange(600.0), torch.arange(600.0))
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
    for call in MET_BY[action]:
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


def save_validated(folder: Path) -> str:
    """Save step 2 once more, after its validation: its tensors are linked."""
    console.quiet()
    state = {"step": 2, "validated": True}
    CheckpointFolder(folder).write("step-00000002-validated", groups(2), state, source="step-00000002")
    return "saved"


def begin_again(folder: Path) -> str:
    """Do what the start of a resumed run does, of which step 2 is the newest that is whole."""
    checkpoints = CheckpointFolder(folder)
    checkpoints.remove_leftovers()
    checkpoints.set_aside_after("step-00000002")
    return "begun"


def save_weights(folder: Path, number: int) -> str:
    meta: Any = SimpleNamespace(to_json=lambda: "{}")
    try:
        WeightFiles(folder, meta).write(["best"], {"weight": torch.full((200, 30), float(number))})
    except EnvironmentFault as error:
        return str(error)
    return "saved"


def swept(action: str, scratch: Path, make: Callable[[], Path], job: Callable[..., Any], *arguments: Any) -> Iterator:
    """Yield folder, result and place of each call that changes something on the disk, which met a fault."""
    for call in CHANGING:
        for when in range(1, MOST):
            folder = make()
            done = run_with_fault(call, ACTIONS[action], when, scratch, job, folder, *arguments)
            if not done.hit:
                break
            yield folder, done, f"{action} at {call} {when}: {done.answer}"
        else:
            pytest.fail(f"{call} was hit {MOST} times: the sweep does not reach its end")


def test_a_save_after_the_validation_that_is_killed_costs_nothing_that_was_saved(fresh: Any, tmp_path: Path) -> None:
    points = 0
    for folder, _, where in swept("kill", tmp_path, fresh, save_validated):
        points += 1
        assert len({name.removesuffix("-validated") for name in complete(folder)}) >= 2, where
        assert load(folder)[0] == 2, where
        CheckpointFolder(folder).remove_leftovers()
        assert save_validated(folder) == "saved", where
        names = sorted(path.name for path in folder.iterdir())
        assert names == complete(folder) == ["step-00000001", "step-00000002-validated"], where
    assert points > 15


def test_a_start_that_is_killed_costs_nothing_that_was_saved(fresh: Any, tmp_path: Path) -> None:
    def make() -> Path:
        folder = fresh()
        shutil.copytree(folder / "step-00000001", folder / f".tmp-{NEW}@{socket.gethostname()}@{2**22 + 1}")
        shutil.copytree(folder / "step-00000001", folder / ".damaged-step-00000002")
        shutil.copytree(folder / "step-00000001", folder / NEW)
        (folder / NEW / "manifest.json").write_text("{}")
        return folder

    points = 0
    for folder, _, where in swept("kill", tmp_path, make, begin_again):
        points += 1
        assert complete(folder) == ["step-00000001", "step-00000002"] and load(folder)[0] == 2, where
        assert begin_again(folder) == "begun", where
        hidden = [path.name for path in folder.iterdir() if path.name.startswith(".")]
        assert len(hidden) <= 2 and all(name.startswith(".damaged-") for name in hidden), where
        assert complete(folder) == CheckpointFolder(folder).names(), where
    assert points > 5


def test_a_weight_file_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    require_strace()

    def make() -> Path:
        shutil.rmtree(tmp_path / "weights", ignore_errors=True)
        assert save_weights(tmp_path / "weights", 1) == "saved"
        return tmp_path / "weights"

    points = 0
    for folder, done, where in swept("disk full", tmp_path, make, save_weights, 2):
        points += 1
        path = folder / "best.safetensors"
        found = float(load_file(path)["weight"][0, 0])
        assert found == 2 if done.answer == "saved" else found in (1, 2), where
        if done.answer != "saved":
            assert f"cannot write in {path}: " in done.answer and "No space left" in done.answer, where
        assert [path.name for path in folder.iterdir()] == ["best.safetensors"], where
    assert points > 5


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
