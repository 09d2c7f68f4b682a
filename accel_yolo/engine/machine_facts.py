"""What one machine is and has, as its first process sees it, and what is wrong with it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from accel_yolo.data.room import GIB, amount, free_disk_bytes, free_memory_bytes, usable_cores
from accel_yolo.engine.comparison import first_of_machines
from accel_yolo.engine.surroundings import open_files
from accel_yolo.engine.world import World

LEAST_DISK_BYTES = GIB
LEAST_MEMORY_BYTES = GIB
LARGEST_SKEW_S = 2.0


@dataclass(frozen=True)
class ProcessFacts:
    """What a process sees of its machine; amounts in bytes, `UNKNOWN` where the system does not tell.

    Attributes:
        device: name of the device it computes on.
        device_key: what tells a GPU from all others; "" on a CPU.
        missing_device: what is wrong with the device; "" when it is there.
        threads: threads it computes with.
        cores: cores it may use.
        memory_bytes: memory that is free, also within the limits of a container.
        disk_bytes: space in the file system of the run folder.
        shm_bytes: space in /dev/shm, which NCCL uses between the GPUs of a machine.
        open_files: how many files it may hold open.
        clock_s: its wall clock, read by all processes at the same moment.
    """

    device: str
    device_key: str
    missing_device: str
    threads: int
    cores: int
    memory_bytes: int
    disk_bytes: int
    shm_bytes: int
    open_files: int
    clock_s: float


@dataclass(frozen=True)
class Needs:
    """What a run will ask of each machine; 0 is nothing in particular.

    Attributes:
        folder: where runs are written.
        disk_bytes: for its checkpoints.
        shm_bytes: of /dev/shm.
        batches_bytes_per_process: memory for the batches that workers have ready.
        workers: per process.
    """

    folder: Path = Path()
    disk_bytes: int = 0
    shm_bytes: int = 0
    batches_bytes_per_process: int = 0
    workers: int = 0


def gather_facts(world: World, folder: Path) -> list[ProcessFacts]:
    """Return the facts of all processes, in their order, on all of them.

    Args:
        world: all processes.
        folder: where runs are written; it need not exist yet.
    """
    name, key, missing = _device_of(world)
    disk = free_disk_bytes(folder)
    memory = free_memory_bytes()
    shm, files = free_disk_bytes(Path("/dev/shm"), exact=True), open_files()
    world.barrier()
    clock = time.time()
    threads, cores = torch.get_num_threads(), usable_cores()
    own = ProcessFacts(name, key, missing, threads, cores, memory, disk, shm, files, clock)
    return [ProcessFacts(**json.loads(text)) for text in world.gather_text(json.dumps(asdict(own)))]


def warnings_of(places: Sequence[str], facts: Sequence[ProcessFacts], needs: Needs) -> list[str]:
    """Return what may hinder a run, each with machine, value and remedy.

    Args:
        places: the machine of each process, by its number.
        facts: what each process sees.
        needs: what the run asks for.
    """
    found: list[str] = []
    for head in first_of_machines(places):
        processes = places.count(places[head])
        found += _of_machine(places[head], facts[head], processes, needs)
        skew_s = facts[head].clock_s - facts[0].clock_s
        if abs(skew_s) > LARGEST_SKEW_S:
            remedy = "set it, for example with NTP"
            found.append(f"the clock of {places[head]} is {skew_s:+.1f} s off that of {places[0]}; {remedy}")
    return found + _of_devices(places, facts)


def _of_machine(place: str, facts: ProcessFacts, processes: int, needs: Needs) -> list[str]:
    found = []
    disk = max(LEAST_DISK_BYTES, needs.disk_bytes)
    if 0 <= facts.disk_bytes < disk:
        value = f"{amount(facts.disk_bytes)} of {amount(disk)}"
        found.append(f"little disk space for {needs.folder} on {place}: {value}; free some, or change --project")
    if 0 <= facts.shm_bytes < needs.shm_bytes:
        value = f"{amount(facts.shm_bytes)} of {amount(needs.shm_bytes)}"
        remedy = "enlarge it (docker run --shm-size, or a memory volume)"
        found.append(f"/dev/shm is small on {place}: {value} that NCCL should have; {remedy}")
    memory = (LEAST_MEMORY_BYTES + needs.batches_bytes_per_process) * processes
    if 0 <= facts.memory_bytes < memory:
        value = f"{amount(facts.memory_bytes)} of {amount(memory)} for {processes} processes"
        found.append(f"little memory free on {place}: {value}; end other programs, or use fewer processes")
    files = 256 + 32 * needs.workers
    if 0 <= facts.open_files < files:
        value = f"{facts.open_files}, at least {files} are needed"
        found.append(f"a process may open few files on {place}: {value}; raise it with `ulimit -n {4 * files}`")
    return found


def _of_devices(places: Sequence[str], facts: Sequence[ProcessFacts]) -> list[str]:
    found = [f"{fact.missing_device} on {place}" for place, fact in zip(places, facts, strict=True)
             if fact.missing_device]  # fmt: skip
    shared = [key for key, times in Counter(fact.device_key for fact in facts).items() if key and times > 1]
    for key in shared:
        ranks = [rank for rank, fact in enumerate(facts) if fact.device_key == key]
        who = f"{', '.join(map(str, ranks[:-1]))} and {ranks[-1]}"
        remedy = "start one process for each GPU"
        found.append(f"processes {who} share one GPU on {places[ranks[0]]}: {facts[ranks[0]].device}; {remedy}")
    for item, values in (
        ("devices", [fact.device for fact in facts]),
        ("threads of a process", [str(fact.threads) for fact in facts]),
    ):
        odd = next((rank for rank, value in enumerate(values) if value != values[0]), None)
        if odd is not None:
            remedy = "the slowest sets the pace" if item == "devices" else "metrics may differ in the last digits"
            found.append(f"unequal {item}: {values[odd]} on {places[odd]}, {values[0]} on {places[0]}; {remedy}")
    return found


def device_name(world: World) -> str:
    """Return the name of the device of this process."""
    return _device_of(world)[0]


def _device_of(world: World) -> tuple[str, str, str]:
    """Return name, key and fault of the device of this process."""
    device = world.device
    if device.type != "cuda":
        return device.type, "", ""
    index = device.index or 0
    count = torch.cuda.device_count()
    if index >= count:
        return str(device), "", f"process {world.rank} has no GPU {index} ({count} are visible)"
    properties = torch.cuda.get_device_properties(index)
    identity = getattr(properties, "uuid", index)
    return properties.name, f"{world.place_of(world.rank)} {identity}", ""
