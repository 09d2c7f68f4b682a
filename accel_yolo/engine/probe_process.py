"""Steps that are measured in a process of their own, which is where memory may run out.

On a CPU that is not just tidy. The system may end a process that takes too much instead of refusing memory to it, and
after a refusal oneDNN keeps answering "could not create a primitive" for the same sizes, for as long as the process
lives. Also, the memory of a new process grows with what it needs, because nothing freed earlier lies about in it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from multiprocessing.connection import Connection
from typing import Any

import torch

from accel_yolo import console
from accel_yolo.engine.probe import Steps, taken_bytes
from accel_yolo.errors import EnvironmentFault, UserError
from accel_yolo.lifeline import end_with_parent

_DONE = "done"
_NO_MEMORY = 77
"""Exit status of a process without the memory to say anything. The system's own end is SIGKILL."""


def taken_elsewhere(steps: Steps) -> list[int]:
    """Return what `taken_bytes` yields, computed in another process; what it did not live to say is left out.

    Raises:
        UserError: the detector cannot be made.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit threads that do not run in it
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, steps, torch.get_num_threads()), daemon=True)
    process.start()
    theirs.close()
    found: list[int] = []
    failure: Any = None
    try:
        while isinstance(answer := ours.recv(), int):
            found.append(answer)
        failure = answer if answer != _DONE else None
    except EOFError:  # it is gone
        process.join()
        if not _is_out_of_memory(process.exitcode or 0, bool(found)):
            what, value = "the process that tries batches has ended", f"exit status {process.exitcode}"
            raise EnvironmentFault(what, "--batch -1", value, "give a number, such as --batch 16") from None
    except BaseException:  # Ctrl-C: not to be obeyed when all steps are done
        process.kill()
        raise
    finally:
        process.join()
        ours.close()
    if isinstance(failure, UserError):
        raise failure
    if failure is not None:
        raise RuntimeError(f"a step could not be tried:\n{failure}")
    return found


def _is_out_of_memory(status: int, has_measured: bool) -> bool:
    """Return whether an exit status says so: libraries that are refused memory end by any signal, but not at once."""
    return status in (-signal.SIGKILL, _NO_MEMORY) or (has_measured and status < 0)


def _work(connection: Connection, steps: Steps, threads: int) -> None:
    end_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    console.quiet()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries that run out of memory say so there; the parent says it
    torch.set_num_threads(threads)
    try:
        for taken in taken_bytes(steps):
            connection.send(taken)
        connection.send(_DONE)
    except UserError as error:
        connection.send(error)
    except MemoryError:
        os._exit(_NO_MEMORY)
    except Exception:  # noqa: BLE001 - told to the process, which stops the run
        connection.send(traceback.format_exc())
