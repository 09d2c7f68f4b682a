"""Whether processes really reach each other, and how fast: messages tried on every backend of a run."""

from __future__ import annotations

import contextlib
import datetime
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from accel_yolo.engine.comparison import first_of_machines, named, places_of
from accel_yolo.engine.world import World
from accel_yolo.errors import PeerError

SMALL, LARGE = 8, 1 << 20
"""Numbers (float32) in the messages that are tried: 32 bytes, and 4 MiB."""

REPEATS = 5
GIVEN_UP_S = 60
SLOW_S = 0.05
"""A message that takes longer than this between two machines will dominate training."""

_REMEDY = "check firewall and network, or name another one with --interface"


@dataclass(frozen=True)
class Link:
    """Measured messages.

    Attributes:
        name: what for, or between whom.
        latency_s: median time of a small message.
        bandwidth_bytes_s: what the slowest link carries while a large message is on its way.
    """

    name: str
    latency_s: float
    bandwidth_bytes_s: float

    @property
    def latency(self) -> str:
        """As people read it: "0.21 ms"."""
        return f"{self.latency_s * 1e3:.2f} ms"

    @property
    def bandwidth(self) -> str:
        """As people read it: "812 MB/s"."""
        return f"{self.bandwidth_bytes_s / 1e6:.0f} MB/s"


def try_links(world: World) -> list[Link]:
    """Return the measured links, equal on all processes: each backend, then machine 0 to every other machine.

    Raises:
        PeerError: a message does not arrive, or a sum is wrong.
    """
    if world.size == 1:
        return []
    # Groups of their own: what does not arrive is given up after a minute, not after the long time of a training.
    backend, given_up = dist.get_backend(), datetime.timedelta(seconds=GIVEN_UP_S)
    trial: Any = dist.new_group(backend="gloo", timeout=given_up)
    gradients: Any = dist.new_group(backend=backend, timeout=given_up)
    links = [
        _all_reduce("control messages (gloo)", world, torch.device("cpu"), trial),
        _all_reduce(f"gradients ({backend})", world, world.device, gradients),
    ]
    heads = first_of_machines(places_of(world))
    links += [_ping(world, trial, head) for head in heads[1:]]
    for group in (trial, gradients):
        dist.destroy_process_group(group)
    # Each process has measured; what machine 0 has measured is what all of them take.
    told = torch.tensor([[link.latency_s, link.bandwidth_bytes_s] for link in links], dtype=torch.float64)
    agreed = world.sum(told * world.is_leader).tolist()
    return [Link(link.name, *numbers) for link, numbers in zip(links, agreed, strict=True)]


def slow_links(world: World, links: list[Link]) -> list[str]:
    """Return a warning for each link that will hold up a training; on one machine, only other programs do."""
    slow = [link for link in links if world.machines > 1 and link.latency_s > SLOW_S]
    return [f"slow connection, {link.name}: {link.latency}, {link.bandwidth}; {_REMEDY}" for link in slow]


def _all_reduce(name: str, world: World, device: torch.device, group: Any) -> Link:
    """Return the speed of sums over all processes, after a look at the sums themselves."""
    expected = world.size * (world.size + 1) / 2
    times_s: dict[int, list[float]] = {SMALL: [], LARGE: []}
    wrong = 0
    for count in (SMALL, LARGE):
        for _ in range(1 + REPEATS):
            values = torch.full((count,), float(world.rank + 1), device=device)
            start_s = time.perf_counter()
            with _named(name, world):
                dist.all_reduce(values, group=group)
                total = values.cpu()
            times_s[count].append(time.perf_counter() - start_s)
            wrong += int((total != expected).sum())
    _require_right(name, world, wrong)
    latency_s, large_s = (statistics.median(times_s[count][1:]) for count in (SMALL, LARGE))
    # A ring sends 2 (n - 1) / n of the message over every link.
    sent_bytes = 4 * LARGE * 2 * (world.size - 1) / world.size
    return Link(name, latency_s, sent_bytes / large_s)


def _ping(world: World, group: Any, there: int) -> Link:
    """Return the speed between process 0 and another one: the way there and back, halved."""
    name = f"{world.place_of(0)} to {world.place_of(there)}"
    if world.rank not in (0, there):
        return Link(name, 0.0, 0.0)
    way_s: dict[int, float] = {}
    for count in (SMALL, LARGE):
        values = torch.zeros(count)
        with _named(name, world):
            trips_s = [_there_and_back(world, group, there, values) for _ in range(1 + REPEATS)]
        way_s[count] = statistics.median(trips_s[1:]) / 2
    return Link(name, way_s[SMALL], 4 * LARGE / way_s[LARGE])


def _there_and_back(world: World, group: Any, there: int, values: Tensor) -> float:
    start_s = time.perf_counter()
    if world.is_leader:
        dist.send(values, there, group=group)
        dist.recv(values, there, group=group)
    else:
        dist.recv(values, 0, group=group)
        dist.send(values, 0, group=group)
    return time.perf_counter() - start_s


@contextlib.contextmanager
def _named(name: str, world: World) -> Iterator[None]:
    """Turn a message that does not arrive into a user error."""
    try:
        yield
    except (dist.DistError, RuntimeError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        where = f"{name} ({named(world, world.rank)})"
        lost = PeerError("messages between processes do not arrive", where, first_line, _REMEDY)
        raise world.common(lost) from error


def _require_right(name: str, world: World, wrong: int) -> None:
    counts = world.gather_rows(np.array([[float(wrong)]]))[:, 0]
    odd = next((rank for rank, count in enumerate(counts) if count), None)
    if odd is not None:
        # A sum that is wrong for all does not say whose part was.
        where = name if counts.all() else f"{name} ({named(world, odd)})"
        remedy = "check the network hardware and the versions of torch and NCCL"
        raise world.common(PeerError("messages arrive changed", where, f"{counts[odd]:.0f} wrong sums", remedy))
