"""Processes that answer questions about files, for work that the lock of the interpreter would keep to one core.

They are started as fresh programs: that works in a process of any kind (with threads, with a GPU, itself a worker),
asks nothing of the script that runs, and nothing is pickled.
"""

from __future__ import annotations

import importlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType

from accel_yolo.data.clerk import LENGTH_BYTES
from accel_yolo.lifeline import start_program

MOST_CLERKS = 16


class _Gone(Exception):
    """A clerk has ended, or could not be started."""


class Clerks:
    """Some processes that answer questions by the function `answer` of a module; a context manager.

    When one of them ends or cannot be started, the questions meant for it are answered here: slower, not wrong.
    """

    def __init__(self, count: int, module: str) -> None:
        """Start them.

        Args:
            count: how many.
            module: dotted name of the module whose `answer(bytes) -> bytes` they call.
        """
        self._module = module
        self._idle: SimpleQueue[subprocess.Popen[bytes] | None] = SimpleQueue()
        # Started by the calling thread: a process that ends with its parent ends with the thread that started it.
        self._started = [_start(module) for _ in range(count)]
        for clerk in self._started:
            self._idle.put(clerk)
        self._threads = ThreadPoolExecutor(max(count, 1))
        self._is_over = False

    def __enter__(self) -> Clerks:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        # Killed first: a thread that waits for an answer then stops waiting.
        self._is_over = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for clerk in self._started:
            if clerk is not None:
                clerk.kill()
        self._threads.shutdown(wait=True)
        for clerk in self._started:
            if clerk is not None:
                _close(clerk)

    def answers(self, questions: Sequence[bytes]) -> Iterator[bytes]:
        """Return an iterator over the answers, in the order of the questions; work on all of them begins at once."""
        return self._threads.map(self._answer, questions)

    def _answer(self, question: bytes) -> bytes:
        clerk = self._idle.get()
        try:
            return _ask(clerk, question)
        except _Gone:
            clerk = None
        finally:
            self._idle.put(clerk)
        return b"" if self._is_over else importlib.import_module(self._module).answer(question)


def _start(module: str) -> subprocess.Popen[bytes] | None:
    # A session of its own: the Ctrl-C that this process gets from its terminal is not for the clerks.
    return start_program(
        "accel_yolo.data.clerk:serve",
        [module, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def _ask(clerk: subprocess.Popen[bytes] | None, question: bytes) -> bytes:
    """Return the answer of one process.

    Raises:
        _Gone: there is none.
    """
    if clerk is None or clerk.stdin is None or clerk.stdout is None:
        raise _Gone
    try:
        clerk.stdin.write(len(question).to_bytes(LENGTH_BYTES, "little") + question)
        clerk.stdin.flush()
        length = int.from_bytes(clerk.stdout.read(LENGTH_BYTES), "little")
        reply = clerk.stdout.read(length)
    except (OSError, ValueError) as error:
        raise _Gone from error
    if not length or len(reply) < length:
        raise _Gone
    return reply


def _close(clerk: subprocess.Popen[bytes]) -> None:
    clerk.wait()
    for pipe in (clerk.stdin, clerk.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except OSError:  # what was still to be sent to a process that has ended
            pass
