"""Processes that answer questions about files, for work that the lock of the interpreter would keep to one core.

They are started as fresh programs: that works in a process of any kind (with threads, with a GPU, itself a worker),
asks nothing of the script that runs, and nothing is pickled.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from types import TracebackType

from accel_yolo.data.clerk import LENGTH_BYTES
from accel_yolo.lifeline import start_program

MOST_CLERKS = 16


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
        self._questions: SimpleQueue[_Question | None] = SimpleQueue()
        # Started by the calling thread: a process that ends with its parent ends with the thread that started it.
        self._started = [_start(module) for _ in range(count)]
        self._is_over = False
        # Threads and queues of our own: a Ctrl-C can leave the locks of an executor taken, and its end would be awaited
        # for ever. A `SimpleQueue` has none that Python code holds.
        clerks = self._started or [None]
        self._threads = [threading.Thread(target=self._work, args=(clerk,), daemon=True) for clerk in clerks]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Clerks:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        # Killed first: a thread that waits for an answer then stops waiting.
        self._is_over = True
        for clerk in self._started:
            if clerk is not None:
                clerk.kill()
        for _ in self._threads:
            self._questions.put(None)
        for thread in self._threads:
            thread.join()
        for clerk in self._started:
            if clerk is not None:
                _close(clerk)

    def answers(self, questions: Sequence[bytes]) -> Iterator[bytes]:
        """Return an iterator over the answers, in the order of the questions; work on all of them begins at once."""
        answers: SimpleQueue[tuple[int, bytes | Exception]] = SimpleQueue()
        for number, question in enumerate(questions):
            self._questions.put((answers, number, question))
        return _in_order(answers, len(questions))

    def _work(self, clerk: subprocess.Popen[bytes] | None) -> None:
        while (asked := self._questions.get()) is not None and not self._is_over:
            answers, number, question = asked
            answer: bytes | Exception | None
            try:
                answer = _ask(clerk, question)
                if answer is None and not self._is_over:
                    clerk = None
                    answer = importlib.import_module(self._module).answer(question)
            except Exception as error:  # noqa: BLE001 - raised where the answer is taken
                answer = error
            answers.put((number, answer or b""))


_Question = tuple[SimpleQueue[tuple[int, bytes | Exception]], int, bytes]
"""Where the answer goes, its number there, and what is asked."""


def _in_order(answers: SimpleQueue[tuple[int, bytes | Exception]], count: int) -> Iterator[bytes]:
    early: dict[int, bytes | Exception] = {}
    for wanted in range(count):
        while wanted not in early:
            number, answer = answers.get()
            early[number] = answer
        answer = early.pop(wanted)
        if isinstance(answer, Exception):
            raise answer
        yield answer


def _start(module: str) -> subprocess.Popen[bytes] | None:
    # A session of its own: the Ctrl-C that this process gets from its terminal is not for the clerks.
    return start_program(
        "accel_yolo.data.clerk:serve",
        [module, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def _ask(clerk: subprocess.Popen[bytes] | None, question: bytes) -> bytes | None:
    """Return the answer of one process; None when it has ended, or could not be started."""
    if clerk is None or clerk.stdin is None or clerk.stdout is None:
        return None
    try:
        clerk.stdin.write(len(question).to_bytes(LENGTH_BYTES, "little") + question)
        clerk.stdin.flush()
        length = int.from_bytes(clerk.stdout.read(LENGTH_BYTES), "little")
        reply = clerk.stdout.read(length)
    except (OSError, ValueError):
        return None
    return reply if length and len(reply) == length else None


def _close(clerk: subprocess.Popen[bytes]) -> None:
    clerk.wait()
    for pipe in (clerk.stdin, clerk.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except OSError:  # what was still to be sent to a process that has ended
            pass
