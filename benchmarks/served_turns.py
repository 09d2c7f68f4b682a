"""Serves one part of a trainer turn by turn, so that several trainers can take turns on one machine.

A driver prints a JSON line of facts when it is ready, and one for each line that it reads; it ends when there are no
more. Only the standard library is used: the reference's environment has nothing of ours.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

Turn = Callable[[], dict[str, Any]]


def own_stdout() -> TextIO:
    """Return the stream of answers; everything else that this process prints goes to stderr from now on."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def serve(answers: TextIO, facts: dict[str, Any], turn: Turn, wait_for_device: Callable[[], object]) -> None:
    """Answer every line on stdin with what a turn gave and took.

    Args:
        answers: see `own_stdout`.
        facts: said first.
        turn: the work; what it returns is sent along.
        wait_for_device: returns when the device is idle.
    """
    say(answers, facts)
    for _ in sys.stdin:
        say(answers, timed(turn, wait_for_device))


def timed(turn: Turn, wait_for_device: Callable[[], object]) -> dict[str, Any]:
    """Return what a turn gave, with its seconds on the clock and its seconds of processor time (all threads)."""
    wait_for_device()
    started, started_cpu = time.perf_counter(), time.process_time()
    given = turn()
    wait_for_device()
    taken = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - started_cpu}
    return {**taken, **given}


def say(answers: TextIO, content: dict[str, Any]) -> None:
    """Send one line."""
    answers.write(json.dumps(content) + "\n")
    answers.flush()


def own_memory_bytes(pid: int | str = "self") -> int:
    """Return the bytes of memory that a process shares with no other (Linux), 0 where that is not known."""
    total = 0
    try:
        with open(f"/proc/{pid}/smaps_rollup") as lines:  # noqa: PTH123 - a plain file
            for line in lines:
                if line.startswith(("Private_Clean", "Private_Dirty", "Private_Hugetlb")):
                    total += int(line.split()[1]) * 1024
    except OSError:
        return 0
    return total
