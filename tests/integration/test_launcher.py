"""Our own launcher with real processes: it ends with them, they end with it, and it has the last word."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import PROGRESS, clean_process

from accel_yolo.config.launching import LaunchPlan
from accel_yolo.engine import launch as launcher
from accel_yolo.engine.launch import launch, settled
from accel_yolo.engine.network import free_port, local_address_towards
from accel_yolo.engine.stores import client_of, open_store
from accel_yolo.errors import ConfigError, EnvironmentFault, PeerError

ROOT = Path(__file__).resolve().parents[2]
TWO = LaunchPlan(processes=2, use_cpu=True)
MARK = "LAUNCHER_TEST_MARK"
LIMIT_S = 180


@pytest.fixture(autouse=True)
def _process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of our own for what launchers leave, and the process as it was."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    yield from clean_process()
    assert not list((tmp_path / "temporary").glob("accel-yolo-launch-*"))


@dataclass
class Run:
    """A started command and everything that belongs to it, found by a mark in the environment."""

    process: subprocess.Popen[bytes]
    mark: str
    out: Path
    err: Path

    def family(self) -> dict[int, str]:
        """Return pid -> environment of all its processes but the first that are alive."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdecimal() or int(folder.name) == self.process.pid:
                continue
            with contextlib.suppress(OSError):
                environment = (folder / "environ").read_bytes()
                if f"{MARK}={self.mark}".encode() in environment.split(b"\0"):
                    found[int(folder.name)] = environment.decode(errors="replace")
        return found

    def rank(self, number: int) -> int:
        """Return the pid of a training process."""
        pids = [pid for pid, text in self.family().items() if f"LOCAL_RANK={number}" in text.split("\0")]
        (pid,) = (pid for pid in pids if Path(f"/proc/{pid}/stat").read_text().split()[3] == str(self.process.pid))
        return pid

    def ends(self) -> int:
        """Return the exit status after checking that no process is left."""
        code = self.process.wait(LIMIT_S)
        until(lambda: not self.family(), 10)
        return code

    def lines(self) -> list[str]:
        """Return the lines on stderr, without progress bars and without the details of an error."""
        lines = self.err.read_text().splitlines()
        return [line for line in lines if line and not line.startswith("  ") and not PROGRESS.match(line)]


def until(holds: Callable[[], object], limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Return a function that starts Python in the background; at the end nothing of it is left."""
    runs: list[Run] = []

    def started(*words: str, ignored: Collection[signal.Signals] = ()) -> Run:
        def as_in_a_terminal() -> None:  # what runs the tests may itself have been started so that it ignores some
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

        out, err = tmp_path / f"out-{len(runs)}", tmp_path / f"err-{len(runs)}"
        mark = f"{os.getpid()}-{len(runs)}-{time.monotonic_ns()}"
        environment = {**os.environ, MARK: mark, "OMP_NUM_THREADS": "1"}
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, *words], stdout=stdout, stderr=stderr, env=environment, preexec_fn=as_in_a_terminal
            )
        runs.append(Run(process, mark, out, err))
        return runs[-1]

    yield started
    for run in runs:
        for pid in [run.process.pid, *run.family()]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        run.process.wait()


@pytest.fixture
def words(sparse_data: Path) -> list[str]:
    return [
        "--data", str(sparse_data), "--weights", "", "--cfg", "yolov5n.yaml", "--imgsz", "64", "--batch", "8",
        "--workers", "1", "--noautoanchor", "--no-preflight", "--noplots", "--bn-group", "4",
    ]  # fmt: skip


@pytest.mark.slow
def test_two_launches_at_once_share_neither_port_nor_folder(start: Callable[..., Run], words: list[str]) -> None:
    short = [*words, "--epochs", "1", "--bit-exact"]
    runs = [
        start("-m", "accel_yolo", "train", *short, "--processes", "2", "--device", "cpu"),
        start(str(ROOT / "train.py"), *short, "--config_file", "2cpu.yaml"),
    ]
    for run in runs:
        assert run.ends() == 0, run.err.read_text()
        assert run.out.read_text().count("Results in") == 1, "one process speaks"
        (told,) = (line for line in run.lines() if "the same with Accelerate" in line)
        assert "accelerate launch --config_file" in told and "2cpu.yaml -m accel_yolo train" in told
    folders = sorted(Path("runs/train").iterdir())
    assert [folder.name for folder in folders] == ["exp", "exp2"]
    assert all((folder / "log-1.txt").is_file() for folder in folders)
    hashes = {json.loads((folder / "metrics.json").read_text())["state_sha256"] for folder in folders}
    assert len(hashes) == 1


def test_the_error_of_a_process_is_the_last_line_and_its_exit_code_ours(
    start: Callable[..., Run], words: list[str], sparse_data: Path
) -> None:
    words[words.index("--bn-group") + 1] = "8"  # one group for two processes: found when they have met
    run = start("-m", "accel_yolo", "train", *words, "--processes", "2", "--device", "cpu")
    assert run.ends() == 2
    errors = [line for line in run.lines() if line.startswith("error: ")]
    assert len(errors) == 1 and errors[0] == run.lines()[-1], run.lines()
    assert "fewer groups of 8 images" in errors[0]


@pytest.mark.parametrize(
    ("end", "code", "last"),
    [
        ("SIGTERM", 75, "error: stopped by SIGTERM in epoch "),
        ("SIGINT", 130, "error: interrupted by SIGINT in epoch "),
        ("SIGHUP", 75, "error: stopped by SIGTERM in epoch "),
        ("kill a process", 5, "error: process 1 was killed by SIGKILL (out of memory?)"),
        ("kill the launcher", -9, ""),
    ],
)
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_nothing_is_left_however_a_run_ends(
    start: Callable[..., Run], words: list[str], tmp_path: Path, end: str, code: int, last: str
) -> None:
    run = start("-m", "accel_yolo", "train", *words, "--epochs", "100000", "--processes", "2", "--device", "cpu")
    until(lambda: "2/100000" in run.out.read_text() or run.process.poll() is not None, LIMIT_S)
    assert run.process.poll() is None, run.err.read_text()
    assert len(run.family()) >= 2
    if end == "kill a process":
        os.kill(run.rank(1), signal.SIGKILL)
    else:
        run.process.send_signal(signal.SIGKILL if end == "kill the launcher" else getattr(signal, end))
    assert run.ends() == code
    if last:
        assert run.lines()[-1].startswith(last)
        assert "Traceback" not in run.err.read_text()
    else:  # nobody was left to tidy up: the next launcher does
        assert list((tmp_path / "temporary").glob("accel-yolo-launch-*"))
        assert launch(LaunchPlan(1, use_cpu=True), "train", ["--help"], announce=False) == 0


@pytest.mark.slow
def test_a_run_under_nohup_survives_the_end_of_its_terminal(start: Callable[..., Run], words: list[str]) -> None:
    command = ("-m", "accel_yolo", "train", *words, "--epochs", "100000", "--processes", "2", "--device", "cpu")
    run = start(*command, ignored=(signal.SIGHUP,))
    until(lambda: "2/100000" in run.out.read_text() or run.process.poll() is not None, LIMIT_S)
    run.process.send_signal(signal.SIGHUP)
    until(lambda: "4/100000" in run.out.read_text() or run.process.poll() is not None, LIMIT_S)
    assert run.process.poll() is None, run.err.read_text()
    run.process.send_signal(signal.SIGTERM)
    assert run.ends() == 75


def test_the_processes_get_what_they_need(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The words are read again, and lead to no second launch."""
    before = dict(os.environ)
    assert launch(TWO, "train", ["--processes", "2", "--help"], announce=False) == 0
    assert capfd.readouterr().out.count("usage: accel-yolo train") == 2
    assert dict(os.environ) == before
    given = launcher.environment_of(LaunchPlan(2, ("6", "7"), use_cpu=False, mixed_precision="bf16"), tmp_path)
    assert (given["CUDA_VISIBLE_DEVICES"], given["ACCELERATE_MIXED_PRECISION"]) == ("6,7", "bf16")
    assert "ACCELERATE_USE_CPU" not in given
    assert launcher.environment_of(TWO, tmp_path)["ACCELERATE_USE_CPU"] == "true"


def test_an_error_of_all_processes_is_spoken_once(capfd: pytest.CaptureFixture[str]) -> None:
    assert launch(TWO, "train", ["--epochs", "0"], announce=False) == 2
    line = "error: wrong value in --epochs: 0; give a whole number of at least 1"
    assert capfd.readouterr().err.strip() == line


def test_nobody_else_in_the_network_reaches_the_meeting_point_of_one_machine() -> None:
    store = open_store("", 0)
    client_of("127.0.0.1", store.port, 5).set("reached", "yes")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((local_address_towards("192.0.2.1"), store.port), 5)


def test_a_port_that_the_user_named_and_that_is_taken_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentFault, match=rf"--main-process-port: 127\.0\.0\.1:{port}"):
            launch(LaunchPlan(2, use_cpu=True, main_process_port=port), "train", ["--help"], announce=False)


def test_two_machines_meet_in_either_order(start: Callable[..., Run]) -> None:
    port = free_port()
    program = (
        "import sys; from accel_yolo.engine.launch import *\n"
        "plan = LaunchPlan(1, use_cpu=True, machines=2, machine_rank=int(sys.argv[1]),\n"
        f"                  main_process_ip='127.0.0.1', main_process_port={port}, connect_timeout=60)\n"
        "sys.exit(launch(plan, 'train', ['--help'], announce=False))"
    )
    second = start("-c", program, "1")
    first = start("-c", program, "0")
    for run in (first, second):
        assert run.ends() == 0, run.err.read_text()
        assert run.out.read_text().count("usage: accel-yolo train") == 1


def test_a_machine_waits_for_machine_0_only_so_long() -> None:
    plan = LaunchPlan(1, (), (), True, 2, 1, "127.0.0.1", free_port(), connect_timeout=1)
    start_s = time.monotonic()
    with pytest.raises(PeerError, match=f"127.0.0.1:{plan.main_process_port}"):
        launch(plan, "train", ["--help"], announce=False)
    assert time.monotonic() - start_s < 10


def test_processes_without_gpus_share_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert settled(LaunchPlan(2)).use_cpu is True
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert settled(LaunchPlan(2)).use_cpu is False
    with pytest.raises(ConfigError, match="more processes than GPUs in --processes: 3; 2 found"):
        settled(LaunchPlan(3))
    with pytest.raises(ConfigError, match="no such CUDA device in --device: 1,2; 2 found, counted from 0"):
        settled(LaunchPlan(2, ("1", "2"), (1, 2), use_cpu=False))
    with pytest.raises(ConfigError, match="no such CUDA device in a.yaml, key 'gpu_ids': 2; 2 found"):
        settled(LaunchPlan(2, ("1", "2"), use_cpu=False, config_file="a.yaml", asked_by="a.yaml"))
