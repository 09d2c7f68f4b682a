"""How much memory tensors take: of this process, and of its device."""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass

import torch
from torch import Tensor


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


def _most_resident_bytes() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
