"""Saving while training goes on: tensors are copied to host memory on the step, a thread brings them to the disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from accel_yolo.engine.checkpoint_files import file_order
from accel_yolo.errors import EnvironmentFault, UserError

LONGEST_S = 300.0
"""How long a run waits for one save."""

MOST_FAILURES = 3
"""So many saves in a row may fail before the run stops."""

Job = Callable[[], object]


class HostCopy:
    """Tensors in host memory, which is kept from copy to copy: a block for each group, in the order of its file.

    So a file is written from one piece of memory, in few large writes.
    """

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Tensor]] = {}

    def of(self, groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
        """Return a copy of named tensors, contiguous on the host; the copy before is overwritten.

        The copies from a GPU are page-locked, so that they take as long as the bus does.
        """
        is_on_gpu = any(value.is_cuda for tensors in groups.values() for value in tensors.values())
        for stem, tensors in groups.items():
            if stem not in self._kept or _layout(tensors) != _layout(self._kept[stem]):
                self._kept[stem] = _block(tensors, is_on_gpu)
            for name, value in tensors.items():
                self._kept[stem][name].copy_(value.detach(), non_blocking=value.is_cuda)
        if is_on_gpu:
            torch.cuda.current_stream().synchronize()
        return {stem: self._kept[stem] for stem in groups}


def _layout(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in tensors.items()}


def _block(tensors: Mapping[str, Tensor], is_pinned: bool) -> dict[str, Tensor]:
    """Return tensors like those given, one behind the other in host memory."""
    names = file_order(tensors)
    sizes = [tensors[name].nbytes for name in names]
    memory = torch.empty(sum(sizes), dtype=torch.uint8, pin_memory=is_pinned)
    return {
        name: piece.view(tensors[name].dtype).view(tensors[name].shape)
        for name, piece in zip(names, memory.split(sizes), strict=True)
    }


class Writer:
    """A thread that saves, one job after another; it says how that went when it is asked.

    It prints nothing, and holds its lock for moments only: the main thread makes processes of its own meanwhile.

    Args:
        folder: where it writes, for messages.
        longest_s: how long one save may take.

    Attributes:
        failures: jobs in a row that have failed.
    """

    def __init__(self, folder: Path, longest_s: float = LONGEST_S) -> None:
        self.failures = 0
        self._folder, self._longest_s = folder, longest_s
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()  # of what follows
        self._last: Job | None = None
        self._left = 0  # jobs that are not done
        self._errors: list[str] = []
        self._fatal: BaseException | None = None

    @property
    def must_stop(self) -> bool:
        """Whether `settle` would raise: too many failures in a row, or one that no later save makes good."""
        return self.failures >= MOST_FAILURES or self._fatal is not None

    def submit(self, job: Job) -> None:
        """Have a job done after those that were given before."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="checkpoint writer", daemon=True)
            self._thread.start()
        with self._changed:
            self._last, self._left = job, self._left + 1
        self._jobs.put(job)

    def news(self) -> list[str]:
        """Return the messages of jobs that have failed since this was last asked."""
        with self._changed:
            found, self._errors = self._errors, []
        return found

    def is_idle_within(self, longest_s: float | None = None) -> bool:
        """Wait for all jobs, well done or not, and return whether they are; else `settle` raises from now on."""
        longest_s = self._longest_s if longest_s is None else longest_s
        with self._changed:
            is_idle = self._changed.wait_for(lambda: self._left == 0, longest_s)
        if not is_idle and self._fatal is None:
            what = f"the disk does not take the checkpoint within {longest_s:.0f} s"
            remedy = "the earlier ones are untouched; look at the disk"
            self._fatal = EnvironmentFault(what, str(self._folder), remedy=remedy)
        return is_idle

    def wait(self, longest_s: float | None = None) -> None:
        """Return when all jobs are done, well or not.

        Raises:
            EnvironmentFault: that takes too long, or took too long before.
        """
        if self._fatal is None:
            self.is_idle_within(longest_s)
        if self._fatal is not None:
            raise self._fatal

    def settle(self) -> None:
        """Return when what was given last is on the disk; it is tried once more here if it had failed.

        Raises:
            EnvironmentFault: it cannot be saved.
        """
        self.wait()
        if self.failures and self._last is not None:
            self._last()
            self.failures = 0

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            failed: BaseException | None = None
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - raised again where somebody waits
                failed = error
            with self._changed:
                self.failures = 0 if failed is None else self.failures + 1
                if isinstance(failed, UserError):
                    self._errors.append(str(failed))
                elif failed is not None:
                    self._fatal = failed
                self._left -= 1
                self._changed.notify_all()
