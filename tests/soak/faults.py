"""The faults of a soak: what is done, and what may come of it."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.checkpoint_reading import verify
from accel_yolo.engine.run_lock import NAME as LOCK
from accel_yolo.engine.tracking import PROGRAM
from accel_yolo.errors import CheckpointError
from soak.stage import ROOT, TIMEOUT_S, Shape, Stage, Start

PREEMPTED, INTERRUPTED, DATA, CHECKPOINT, PEER, ENVIRONMENT = 75, 130, 3, 4, 5, 7
STOPPED = (
    PREEMPTED,
    INTERRUPTED,
    *(sign for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT) for sign in (128 + number, -number)),
)
"""With a checkpoint; and before there is anything to save, as any program ends."""

DAY_S = 86400.0
SETTLE_S = 40.0


@dataclass
class Scene:
    """A start of a run, and what faults need of it.

    Attributes:
        damaged: names of checkpoints that a fault has damaged.
    """

    stage: Stage
    run: Path
    shape: Shape
    start: Start
    rng: random.Random
    damaged: set[str]

    @property
    def checkpoints(self) -> CheckpointFolder:
        return CheckpointFolder(self.run / "checkpoints")

    def some_process(self) -> int | None:
        """Return any process of the start: launcher, rank, data worker, drawer; None when there is none."""
        pids = sorted(self.start.processes())
        return self.rng.choice(pids) if pids else None

    def ranks(self) -> list[int]:
        """Return the processes that train."""
        found = self.start.processes()
        ranked = {pid for pid, variables in found.items() if "RANK" in variables}
        return sorted(pid for pid in ranked if _parent(pid) not in ranked) or sorted(found)


@dataclass(frozen=True)
class Fault:
    """A fault of a kind.

    Attributes:
        inflict: does it; returns what was done in words, "" when there was nothing to do it to.
        codes: exit statuses of the run that it may lead to, besides 0; the run may also survive.
        machines: it needs that many machines.
    """

    inflict: Callable[[Scene], str]
    codes: tuple[int, ...] = ()
    machines: int = 1


def _kill(scene: Scene) -> str:
    pid = scene.some_process()
    if pid is None:
        return ""
    what = _described(scene, pid)
    return f"SIGKILL to {what}" if _signalled(pid, signal.SIGKILL) else ""


def _stop(scene: Scene) -> str:
    pid, seconds = scene.some_process(), scene.rng.uniform(0.3, 1.5 * TIMEOUT_S)
    if pid is None:
        return ""
    what = _described(scene, pid)
    if not _signalled(pid, signal.SIGSTOP):
        return ""
    time.sleep(seconds)
    _signalled(pid, signal.SIGCONT)
    return f"SIGSTOP for {seconds:.1f} s to {what}"


def _ask_to_stop(scene: Scene) -> str:
    number = scene.rng.choice((signal.SIGTERM, signal.SIGUSR1, signal.SIGINT))
    launchers = [launcher.pid for launcher in scene.start.launchers if launcher.poll() is None]
    pids = scene.rng.choice((launchers, scene.ranks()[:1], scene.ranks()))
    done = [pid for pid in pids if _signalled(pid, number)]
    return f"{number.name} to {len(done)} of its processes" if done else ""


def _fill(scene: Scene) -> str:
    filler = scene.stage.runs / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as stream:
        while True:
            stream.write(bytes(1 << 16))
            stream.flush()
    time.sleep(scene.rng.uniform(1, 4))
    filler.unlink(missing_ok=True)
    return "a full disk"


def _protect(scene: Scene) -> str:
    def remount(mode: str) -> bool:
        words = ["mount", "-o", f"remount,{mode}", str(scene.stage.runs)]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    if not remount("ro"):  # a file is open for writing just now
        return ""
    time.sleep(scene.rng.uniform(1, 4))
    remount("rw")
    return "a read-only disk"


def _flip(scene: Scene) -> str:
    file = _file_to_damage(scene)
    if file is None:
        return ""
    try:
        content = bytearray(file.read_bytes())
        place = scene.rng.randrange(len(content) * 8)
        content[place // 8] ^= 1 << place % 8
        _written_anew(file, bytes(content))
    except (OSError, ValueError):  # it was replaced by a newer one meanwhile
        return ""
    return f"a flipped bit in {file.parent.name}/{file.name}"


def _delete(scene: Scene) -> str:
    file = _file_to_damage(scene)
    if file is None:
        return ""
    file.unlink(missing_ok=True)
    return f"{file.parent.name}/{file.name} deleted"


def _second_run(scene: Scene) -> str:
    if not scene.checkpoints.names() or not any(code is None for code in scene.start.codes()):
        return ""
    words = [sys.executable, str(ROOT / "train.py"), "--resume", str(scene.run), "--device", "cpu", "--workers", "0"]
    before = _lease(scene)
    second = subprocess.Popen(
        words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=scene.stage.folder
    )
    try:
        _, said = second.communicate(timeout=120)
    except subprocess.TimeoutExpired:  # the first had ended, and this one trains
        second.terminate()
        _, said = second.communicate()
    if before and before == _lease(scene) and None in scene.start.codes():  # the first has held it all the time
        assert second.returncode == ENVIRONMENT, f"a second run in the folder ended with {second.returncode}: {said}"
        assert re.search(r"error: .*process \d+", said), said
    return "a second run in the folder"


def _jump(scene: Scene) -> str:
    seconds = scene.rng.choice((-DAY_S, 0.0, DAY_S))
    scene.stage.jump(seconds)
    return f"the wall clock set to {seconds / DAY_S:+.0f} days"


def _hide_image(scene: Scene) -> str:
    if " epochs of " not in scene.start.said():  # before, it would be left out of the data
        return ""
    path = scene.stage.data.parent / "images" / "train" / f"{scene.rng.randrange(26):03d}.png"
    content, times = path.read_bytes(), path.stat()
    with _restored(path, content, (times.st_atime_ns, times.st_mtime_ns)):
        path.write_bytes(content[: len(content) // 2])
        time.sleep(scene.rng.uniform(0.5, 2))
        if scene.rng.random() < 0.5:
            _await_end(scene)
    return f"{path.name} cut in half for a while"


def _cut(scene: Scene) -> str:
    machine = scene.rng.choice(scene.stage.machines)
    machine.cable("down")
    time.sleep(1.5 * TIMEOUT_S)
    machine.cable("up")
    return f"the cable of {machine.name} pulled out for {1.5 * TIMEOUT_S:.0f} s"


def _flap(scene: Scene) -> str:
    machine, seconds = scene.rng.choice(scene.stage.machines), scene.rng.uniform(0.2, 1.5)
    machine.cable("down")
    time.sleep(seconds)
    machine.cable("up")
    return f"the cable of {machine.name} pulled out for {seconds:.1f} s"


def _slow_cable(scene: Scene) -> str:
    if scene.stage.weather is None:
        return ""
    seconds = scene.rng.uniform(3, 15)
    scene.stage.weather.turn(delay_ms=50, loss_percent=2)
    time.sleep(seconds)
    scene.stage.weather.turn()
    return f"a cable of 50 ms that loses 2 % for {seconds:.1f} s"


def _slow_tracker(scene: Scene) -> str:
    trackers = [pid for pid in scene.start.processes() if PROGRAM.partition(":")[0] in _words(pid)]
    if not trackers or not _signalled(trackers[0], signal.SIGSTOP):
        return ""
    seconds = scene.rng.choice((1.0, 5.0, SETTLE_S))
    _await_end(scene, seconds)
    _signalled(trackers[0], signal.SIGCONT)
    return f"a tracker that stands still for {seconds:.0f} s"


FAULTS = {
    "kill": Fault(_kill, (PEER, ENVIRONMENT, PREEMPTED, -signal.SIGKILL)),  # without its launcher a process saves
    "stop": Fault(_stop, (PEER, ENVIRONMENT)),
    "signal": Fault(_ask_to_stop, (PEER, *STOPPED)),
    "full disk": Fault(_fill, (ENVIRONMENT,)),
    "read-only disk": Fault(_protect, (ENVIRONMENT,)),
    "flipped bit": Fault(_flip),
    "deleted file": Fault(_delete),
    "second run": Fault(_second_run, (ENVIRONMENT,)),  # the first may be about to start again
    "clock": Fault(_jump),
    "image": Fault(_hide_image, (DATA,)),
    "cut": Fault(_cut, (PEER,), machines=2),
    "flap": Fault(_flap, (PEER,), machines=2),
    "slow cable": Fault(_slow_cable, machines=2),
    "slow tracker": Fault(_slow_tracker),
}


@contextlib.contextmanager
def _restored(path: Path, content: bytes, times_ns: tuple[int, int]) -> Iterator[None]:
    try:
        yield
    finally:
        path.write_bytes(content)
        os.utime(path, ns=times_ns)


def _await_end(scene: Scene, seconds: float = SETTLE_S) -> None:
    end = time.monotonic() + seconds
    while None in scene.start.codes() and time.monotonic() < end:
        time.sleep(0.1)


def _file_to_damage(scene: Scene) -> Path | None:
    """Return a file of the newest checkpoint, when the one before it is whole: then the run loses work, not itself."""
    names = scene.checkpoints.names()
    if len(names) < 2 or not all(is_whole(scene.checkpoints.folder / name) for name in names[-2:]):
        return None
    newest = scene.checkpoints.folder / names[-1]
    try:
        file = scene.rng.choice(sorted(newest.iterdir()))
    except OSError:
        return None
    scene.damaged.add(newest.name)
    return file


def is_whole(checkpoint: Path) -> bool:
    """Return whether a checkpoint is there and verifies."""
    try:
        verify(checkpoint)
    except CheckpointError:
        return False
    return True


def _written_anew(file: Path, content: bytes) -> None:
    """Replace a file; a checkpoint that shares it with another keeps its own."""
    beside = file.with_name(f"{file.name}.damaged")
    beside.write_bytes(content)
    beside.replace(file)


def _signalled(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _described(scene: Scene, pid: int) -> str:
    if pid in [launcher.pid for launcher in scene.start.launchers]:
        return "a launcher"
    variables = scene.start.processes().get(pid, {})
    what = "process" if pid in scene.ranks() else "a helper of process"
    return f"{what} {variables.get('RANK', '0')}"


def _lease(scene: Scene) -> str:
    """Return who holds the folder of the run; "" when nobody does. The time of renewal is not in it."""
    with contextlib.suppress(OSError):
        return (scene.run / LOCK).read_text(errors="replace").strip("\0 ")
    return ""


def _words(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path("/proc", str(pid), "cmdline").read_bytes().decode(errors="replace")
    return ""


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])
    return 0
