"""A job whose system calls fail, one by one: what it does before and after the chosen one is real."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from processes import PRELOADED

ATTACHED_WITHIN_S, JOB_TIMEOUT_S = 10, 60
CALLS = (
    "openat", "write", "pwrite64", "fsync", "fdatasync", "close", "mkdir", "rename", "renameat2", "unlink", "unlinkat",
    "rmdir", "chmod", "fchmod", "link", "ftruncate", "getdents64", "read", "newfstatat", "statx", "statfs",
)  # fmt: skip
"""What programs ask of a file system."""


@dataclass(frozen=True)
class Injected:
    """What became of a job.

    Attributes:
        hit: the chosen call was made, and did not do what it should.
        killed: the job did not survive it.
        answer: what the job returned; None when it was killed.
    """

    hit: bool
    killed: bool
    answer: Any


@dataclass(frozen=True)
class Escaped:
    """What a job raised."""

    words: str


def require_strace() -> None:
    """Skip the test where system calls cannot be tampered with."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace to make system calls fail")


def run_with_fault(
    call: str, action: str, when: int, scratch: Path, job: Callable[..., Any], *arguments: Any
) -> Injected:
    """Call `job(*arguments)` in a process of its own, whose `when`-th system call of a kind fails.

    Args:
        call: "openat", "write", ...
        action: "signal=SIGKILL" or "error=EIO", as strace has it.
        when: from 1, counted from the start of the job, over all its threads.
        scratch: folder for the trace.
        job: importable; what it returns is pickled. It is called once before, with an empty folder.
        arguments: for the job; the first is a folder.
    """
    words = ["-e", f"trace={call}", "-e", f"inject={call}:{action}:when={when}"]
    answer, code, trace = _traced(words, scratch / "trace", job, arguments)
    killed = code == -signal.SIGKILL
    return Injected("INJECTED" in trace or killed, killed, answer)


def calls_of(scratch: Path, job: Callable[..., Any], *arguments: Any) -> tuple[Any, list[str]]:
    """Return what `job(*arguments)` returned in a process of its own, and its system calls on files, in their order.

    A line is `write(5</path>, "...") = 3`: descriptors are followed by their paths.
    """
    answer, _, trace = _traced(["-y", "-s", "0", "-e", f"trace={','.join(CALLS)}"], scratch / "trace", job, arguments)
    return answer, [line.partition(" ")[2].strip() for line in trace.splitlines()]


def _traced(
    words: Sequence[str], trace: Path, job: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[Any, int | None, str]:
    """Return the answer of a job (None if it was killed), the exit status of its process and the trace."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    ours, theirs = socket.socketpair()  # spoken to in calls that are none of files
    ours.settimeout(JOB_TIMEOUT_S)
    process = context.Process(target=_begin, args=(theirs, job, arguments))
    process.start()
    theirs.close()
    assert ours.recv(8) == b"here"
    command = ["strace", "-f", "-qq", "-o", str(trace), *words, "-p", str(process.pid)]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await_tracer(process.pid)
        ours.send(b"go")
        answer = b""
        while piece := ours.recv(1 << 16):
            answer += piece
    except ConnectionError:
        answer = b""
    finally:
        process.join(JOB_TIMEOUT_S)
        tracer.wait(ATTACHED_WITHIN_S)
        trace.touch()
        ours.close()
    said, text = pickle.loads(answer) if answer else None, trace.read_text(errors="replace")
    assert not isinstance(said, Escaped), f"{said.words}\n{text}"
    assert answer or process.exitcode == -signal.SIGKILL, f"exit status {process.exitcode}\n{text}"
    return said, process.exitcode, text


def _await_tracer(pid: int | None) -> None:
    end = time.monotonic() + ATTACHED_WITHIN_S
    while re.search(r"TracerPid:\s+0$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE):
        assert time.monotonic() < end, "strace did not attach"
        time.sleep(0.002)


def _begin(theirs: socket.socket, job: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    with tempfile.TemporaryDirectory() as elsewhere:
        job(Path(elsewhere), *arguments[1:])  # what is imported and looked up only once is not the job
    theirs.send(b"here")
    theirs.recv(8)
    try:
        answer = job(*arguments)
    except Exception:  # noqa: BLE001 - whatever leaves the job is what the test is told
        answer = Escaped(traceback.format_exc())
    theirs.sendall(pickle.dumps(answer))
    os._exit(0)  # what a program does while it ends is not the job
