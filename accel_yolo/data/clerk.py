"""A process that answers questions about files until nobody asks any more; `clerks.py` starts it."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from accel_yolo.lifeline import end_with_parent

LENGTH_BYTES = 8


def serve(module: str, parent: str) -> None:
    """Answer each question on stdin by the function `answer` of a module, on what was stdout, until stdin ends.

    Both are a length of eight bytes and that many bytes.

    Args:
        module: dotted name.
        parent: id of the process that asks.
    """
    # The end of stdin ends it as well, but only between two questions.
    end_with_parent(signal.SIGKILL)
    if sys.platform == "linux" and os.getppid() != int(parent):
        return
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever is printed by accident must not end up among the answers.
    os.dup2(2, 1)
    questions = sys.stdin.buffer
    answer = importlib.import_module(module).answer
    while length := questions.read(LENGTH_BYTES):
        reply = answer(questions.read(int.from_bytes(length, "little")))
        answers.write(len(reply).to_bytes(LENGTH_BYTES, "little") + reply)
        answers.flush()
