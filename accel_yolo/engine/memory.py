"""How much memory tensors take: of this process, and of its device."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch import Tensor

from accel_yolo.engine.messages import Messages


@dataclass(frozen=True)
class Memory:
    """Memory of one process.

    Attributes:
        tensors_bytes: CUDA: the most that tensors have taken at once; otherwise what they take now.
        reserved_bytes: CUDA: the most that the allocator has taken for them; otherwise the most that the whole process
            has had in memory.
    """

    tensors_bytes: int
    reserved_bytes: int

    @classmethod
    def of(cls, device: torch.device) -> Memory:
        """Return the memory of this process on its device."""
        if device.type == "cuda":
            return cls(torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device))
        return cls(held_tensor_bytes(), _most_resident_bytes())


def resident_bytes() -> int:
    """Return what this process has in memory now, its libraries included."""
    return psutil.Process().memory_info().rss


class Peak:
    """The most memory that some work takes, above what this process had when this was made."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.empty_cache()
            self._before = torch.cuda.memory_reserved(device)
        else:
            self._before = resident_bytes()

    def of(self, work: Callable[[], object]) -> int:
        """Return the bytes that were held at once while `work` ran; what it raises is raised."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            work()
            torch.cuda.synchronize(self._device)
            return max(torch.cuda.max_memory_reserved(self._device) - self._before, 0)
        with contextlib.suppress(OSError):
            # Linux counts anew from here. Elsewhere the peak of the process stands: right for work that grows.
            Path("/proc/self/clear_refs").write_text("5")
        work()
        return max(_peak_resident_bytes() - self._before, 0)


def sharers_of(device: torch.device, world: Messages) -> int:
    """Return how many processes share the memory of this process's device, this one included."""
    name = str(device)
    if device.type == "cuda":  # each process may see one GPU and call it 0
        name = str(getattr(torch.cuda.get_device_properties(device), "uuid", name))
    places = world.gather_text(f"{world.machine} {name}")
    return places.count(places[world.rank])


def held_tensor_bytes() -> int:
    """Return the bytes behind all tensors that are alive in this process, memory that several share counted once.

    Seen are the tensors that Python knows and their gradients; what only C++ holds (buckets of DDP) is not.
    """
    gc.collect()
    storages: dict[tuple[str, int], int] = {}
    for item in gc.get_objects():
        if not issubclass(type(item), Tensor):  # not isinstance, which asks proxies of others what they are
            continue
        for tensor in (item, item.grad if item.is_leaf else None):
            if tensor is not None and tensor.layout == torch.strided and tensor.device.type != "meta":
                storage = tensor.untyped_storage()
                storages[str(tensor.device), storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def _peak_resident_bytes() -> int:
    """Return the most that this process has had in memory since its peak was last forgotten."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * 1024
    return _most_resident_bytes()


def _most_resident_bytes() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
