"""The `check` command: are these machines ready to train together, and if not, which one and why."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from accel_yolo import console
from accel_yolo.config.data_union import DataUnion, load_data_union
from accel_yolo.config.launch_schema import CheckConfig, LaunchConfig
from accel_yolo.data.index import SplitIndex, summary
from accel_yolo.data.splits import SplitOptions, open_splits
from accel_yolo.engine.comparison import (
    Difference,
    Fact,
    differences,
    error_of,
    first_of_machines,
    named,
    places_of,
    told_apart,
)
from accel_yolo.engine.data_comparison import SPLIT_NAMES, data_difference
from accel_yolo.engine.link_speed import Link, slow_links, try_links
from accel_yolo.engine.machine_facts import Needs, ProcessFacts, amount, gather_facts, warnings_of
from accel_yolo.engine.run_facts import name_facts, package_facts, versions, weights_facts, weights_file
from accel_yolo.engine.world import World
from accel_yolo.errors import UserError, escaped, printable
from accel_yolo.models.weights import load_weights

SPLITS = ("train", "val")
RUNS = Path("runs")
"""Where trainings write unless told otherwise: the disk that is looked at."""


def check(config: CheckConfig, launch: LaunchConfig | None = None) -> None:
    """Look at every machine of a run, compare them, try the connections, and print what was found.

    Without other processes, it looks at this machine alone.

    Raises:
        PeerError: machines differ in code, packages, classes or weights, or do not reach each other.
        DataError: they differ in the data, or the data are bad.
        CheckpointError: the weights are not there.
    """
    world = World.start(config.device, launch=launch, intent="check")
    facts = gather_facts(world, RUNS)
    _show_machines(world, facts)
    console.say("\n" + ", ".join(f"{name} {version}" for name, version in versions().items()))
    findings = _Findings(world)
    findings.compare(package_facts())
    with findings.collected("weights"):
        _compare_weights(config, world, findings)
    with findings.collected("data"):
        _compare_data(config, world, findings)
    findings.show()
    links = try_links(world)
    _show_links(links)
    for line in (*warnings_of(places_of(world), facts, Needs(RUNS)), *slow_links(world, links)):
        console.warn(line)
    if findings.errors:
        raise findings.errors[0]
    console.say("\n" + console.painted(_all_well(world), "green"))
    world.end()


@dataclass
class _Findings:
    """What has been compared so far.

    Attributes:
        rows: lines of the table: what was compared, "ok" or how it differs.
        errors: one for each kind of difference.
    """

    world: World
    rows: list[tuple[str, str]] = field(default_factory=list)
    errors: list[UserError] = field(default_factory=list)

    @contextlib.contextmanager
    def collected(self, what: str) -> Iterator[None]:
        """Take note of an error that ends a comparison on all processes, and go on with the next."""
        try:
            yield
        except UserError as error:
            self.errors.append(error)
            self.rows.append((what, f"cannot be compared: {error}"))

    def compare(self, facts: Sequence[Fact]) -> None:
        """Compare facts of all processes, a line for each group."""
        found = differences(self.world, facts)
        groups = dict.fromkeys([*(fact.group for fact in facts), *(item.fact.group for item in found)])
        for group in groups:
            here = [item for item in found if item.fact.group == group]
            self.rows.append((group, self._row(here) if here else self._agreed()))
        if found:
            self.errors.append(error_of(self.world, found))

    def add_split(self, split: str, union: DataUnion, index: SplitIndex) -> None:
        """Compare a split of the data."""
        difference = data_difference(self.world, union, split, index)
        if difference is not None:
            self.errors.append(difference)
        shown = (
            self._agreed() if difference is None else f"differs on {difference.where}: {escaped(str(difference.value))}"
        )
        self.rows.append((SPLIT_NAMES[split], shown))

    def show(self) -> None:
        """Print the table, if there was anything to compare with."""
        if self.world.size > 1:
            console.say("")
            console.table(self.rows, ("compared", f"over {self.world.size} processes"))

    def _agreed(self) -> str:
        return "ok" if self.world.size > 1 else ""

    def _row(self, found: Sequence[Difference]) -> str:
        first = found[0]
        values = told_apart(self.world, first.odd, first.fact.value, first.usual)
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        return f"differs on {named(self.world, first.odd.rank)}: {first.fact.item} is {values}{more}"


def _compare_weights(config: CheckConfig, world: World, findings: _Findings) -> None:
    if not config.weights:
        return
    with world.together(), world.one_per_machine_first():
        facts = weights_facts((config.weights,))
        meta = load_weights(weights_file(config.weights)).meta
    console.say(f"weights: {printable(config.weights)}, {len(meta.names)} classes, sha256 {facts[0].value}...")
    findings.compare(facts)


def _compare_data(config: CheckConfig, world: World, findings: _Findings) -> None:
    if not config.data:
        return
    with world.together(), world.one_per_machine_first():
        union = load_data_union((config.data,), SPLITS)
        indices = open_splits(union, SPLITS, SplitOptions(False, "limit", config.workers))
    for split, index in indices.items():
        console.say(summary(index, split))
    findings.compare(name_facts(union.names))
    for split, index in indices.items():
        findings.add_split(split, union, index)


def _show_machines(world: World, facts: Sequence[ProcessFacts]) -> None:
    places = places_of(world)
    header = ("machine", "processes", "device", "cores", "memory free", "disk free", "/dev/shm free", "clock")
    rows = []
    for head in first_of_machines(places):
        fact = facts[head]
        amounts = (amount(value) for value in (fact.memory_bytes, fact.disk_bytes, fact.shm_bytes))
        offset_s = fact.clock_s - facts[0].clock_s
        name, processes = places[head].removeprefix("machine "), places.count(places[head])
        rows.append((name, processes, fact.device, fact.cores, *amounts, f"{offset_s:+.3f} s"))
    console.table(rows, header)


def _show_links(links: Sequence[Link]) -> None:
    if links:
        rows = [(link.name, link.latency, link.bandwidth) for link in links]
        console.say("")
        console.table(rows, ("connection", "latency", "bandwidth"))


def _all_well(world: World) -> str:
    if world.size == 1:
        return "This machine is ready; under a launcher, all machines are compared"
    machines = "1 machine" if world.machines == 1 else f"{world.machines} machines"
    return f"{world.size} processes on {machines} agree and reach each other"
