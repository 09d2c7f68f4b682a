"""The weights of all processes held against each other: a bit that flipped in one memory is named, not averaged in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from accel_yolo.engine.build import Training
from accel_yolo.engine.comparison import named
from accel_yolo.engine.optim import optimizer_tensors
from accel_yolo.engine.world import World
from accel_yolo.errors import PeerError

COMPARE_EVERY = 500
"""Steps between two comparisons; each checkpoint is compared too."""

_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_ODD = -7046029254386353131  # the golden ratio of 2^64, as a signed number
_PIECE = 1 << 21


def require_equal_weights(training: Training, world: World, step: int, *, settled: bool = True) -> None:
    """Stop all processes when weights, statistics, averages or optimizer of one differ from those of the others.

    All processes call this at the same step. It waits for the device; nothing but digests leaves it.

    Args:
        training: what learns.
        world: all processes.
        step: steps of the run that are done.
        settled: the last step was an update. Between updates each process has running statistics of its own, which
            are then left out.

    Raises:
        PeerError: naming the process that differs, and since when.
    """
    if world.size == 1:
        return
    state = _state(training, settled=settled)
    mine = digests(list(state.values()))
    told = world.gather_bytes(np.array([_one(mine)], dtype=np.int64).tobytes())
    if len(set(told)) == 1:
        world.equal_at_step = step
        return
    tables = [np.frombuffer(table, dtype=np.int64) for table in world.gather_bytes(mine.tobytes())]
    raise world.common(_error_of(list(state), tables, world, step))


def digests(tensors: Sequence[Tensor]) -> np.ndarray:
    """Return a number for each tensor that any single changed bit changes; int64 [n].

    The bits are read as whole numbers, each times an odd number of its place, and added modulo 2^64: integers, so the
    order in which a device adds does not matter. Computed where the tensors lie.
    """
    if not tensors:
        return np.zeros(0, dtype=np.int64)
    home = tensors[0].device  # some counters of an optimizer are on the host
    return torch.stack([_digest(tensor.detach()).to(home) for tensor in tensors]).cpu().numpy()


def _digest(tensor: Tensor) -> Tensor:
    words = tensor.contiguous().reshape(-1).view(_WORDS[tensor.element_size()])
    total = torch.zeros((), dtype=torch.int64, device=words.device)
    for start in range(0, len(words), _PIECE):  # eight bytes for each number of a large layer would be too many
        piece = words[start : start + _PIECE].long()
        places = torch.arange(start, start + len(piece), device=words.device)
        total += (piece * (places * 2 + 1) * _ODD).sum()
    return total


def _one(numbers: np.ndarray) -> int:
    """Return one number for all of them."""
    return int(_digest(torch.from_numpy(numbers)))


def _state(training: Training, *, settled: bool) -> dict[str, Tensor]:
    """Return what must be equal, by name."""
    detector: nn.Module = training.detector
    parts: dict[str, Tensor] = {f"weight {name}": value for name, value in detector.named_parameters()}
    if settled:
        parts |= {f"statistic {name}": value for name, value in detector.named_buffers()}
    parts |= {f"average of {name}": value for name, value in training.ema.detector.state_dict().items()}
    moments = optimizer_tensors(detector, training.optimizer)
    return parts | {f"optimizer state {name}": value for name, value in moments.items()}


def _error_of(names: Sequence[str], tables: Sequence[np.ndarray], world: World, step: int) -> PeerError:
    """Return the error for tables of digests that differ."""
    usual, count = Counter(table.tobytes() for table in tables).most_common(1)[0]
    usual_rank = next(rank for rank, table in enumerate(tables) if table.tobytes() == usual)
    odd = next(rank for rank, table in enumerate(tables) if table.tobytes() != usual)
    outvoted = count > len(tables) // 2
    others = "the others" if outvoted and count > 1 else named(world, usual_rank)
    different = np.flatnonzero(tables[odd] != tables[usual_rank])
    since = "" if world.equal_at_step is None else f", and did not at step {world.equal_at_step}"
    what = f"the weights of {named(world, odd)} differ from those of {others} at step {step}{since}"
    value = f"{names[different[0]]}" + (f" and {len(different) - 1} more" if len(different) > 1 else "")
    suspect = "that machine" if outvoted and count > 1 else "both machines" if world.machines > 1 else "this machine"
    remedy = f"go on from a checkpoint before that with --resume, and have the memory of {suspect} checked"
    return PeerError(what, value=value, remedy=remedy)
