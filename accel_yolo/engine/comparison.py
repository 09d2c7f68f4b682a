"""Facts of all processes held against each other: which machine differs, and in what."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from accel_yolo.engine.messages import Messages
from accel_yolo.errors import PeerError, UserError, printable
from accel_yolo.files import sha256_bytes

SHOWN_CHARACTERS, SHOWN_ITEMS = 80, 3

NOT_THERE = "none"
"""The value of a fact that another process has and this one lacks."""


@dataclass(frozen=True)
class Fact:
    """Something that must be the same on every process.

    Attributes:
        item: what it is, for messages ("the version of numpy").
        value: it, or a digest of it.
        remedy: what to do about a difference.
        group: its line in the table of `accel-yolo check`.
    """

    item: str
    value: str
    remedy: str
    group: str


@dataclass(frozen=True)
class OddOne:
    """A process that differs.

    Attributes:
        rank: its number.
        usual_rank: the first process that has what is usual.
        is_outvoted: whether several others agree, and it is not just its word against that of machine 0.
    """

    rank: int
    usual_rank: int
    is_outvoted: bool


@dataclass(frozen=True)
class Difference:
    """One fact in which processes differ: as the odd one has it, and the usual value."""

    fact: Fact
    odd: OddOne
    usual: str


def differences(world: Messages, facts: Sequence[Fact]) -> list[Difference]:
    """Return every fact in which processes differ, each with the first process that differs; equal on all processes.

    Args:
        world: all processes; each calls this.
        facts: what this process holds. A fact that another process lacks counts as `NOT_THERE` on that one.
    """
    text = json.dumps([asdict(fact) for fact in facts])
    if len(set(world.gather_text(sha256_bytes(text.encode())))) == 1:
        return []
    tables = [_table(told) for told in world.gather_text(text)]
    found = []
    for item in dict.fromkeys(item for table in tables for item in table):
        fact = next(table[item] for table in tables if item in table)
        values = [table[item].value if item in table else NOT_THERE for table in tables]
        odd = odd_one_out(places_of(world), values)
        if odd is not None:
            found.append(Difference(replace(fact, value=values[odd.rank]), odd, values[odd.usual_rank]))
    return found


def odd_one_out(places: Sequence[str], values: Sequence[str]) -> OddOne | None:
    """Return the first process that differs from what is usual; None if all are equal.

    Usual is what most machines have, whatever their number of processes. Of two machines it is what machine 0 has;
    among the processes of one machine, what most of them have.

    Args:
        places: the machine of each process, by its number.
        values: the value of each process.
    """
    if len(set(values)) == 1:
        return None
    heads = first_of_machines(places)
    voters = heads if len(heads) > 1 else list(range(len(values)))
    votes = Counter(values[rank] for rank in voters)  # of equal counts the first met wins: that of machine 0
    usual, count = votes.most_common(1)[0]
    # Where the first processes of all machines agree, another one differs from the first of its own machine.
    odd = [rank for rank in (*voters, *range(len(values))) if values[rank] != usual]
    return OddOne(odd[0], values.index(usual), count > 1)


def places_of(world: Messages) -> list[str]:
    """Return the machine of each process, by its number."""
    return [world.place_of(rank) for rank in range(world.size)]


def first_of_machines(places: Sequence[str]) -> list[int]:
    """Return the first process of each machine, in order."""
    return [places.index(place) for place in dict.fromkeys(places)]


def named(world: Messages, rank: int) -> str:
    """Return how messages call a process: by its machine, and by its number where it does not stand for that."""
    stands_for_machine = world.machines > 1 and rank in first_of_machines(places_of(world))
    return world.place_of(rank) if stands_for_machine else f"process {rank} of {world.place_of(rank)}"


def told_apart(world: Messages, odd: OddOne, value: str, usual: str) -> str:
    """Return both values for a message: that of the odd one, and who has the usual one."""
    who = "the others have" if odd.is_outvoted else f"{named(world, odd.usual_rank)} has"
    return f"{printable(value, SHOWN_CHARACTERS)}, {who} {printable(usual, SHOWN_CHARACTERS)}"


def error_of(world: Messages, found: Sequence[Difference]) -> UserError:
    """Return the error for facts that differ; equal on all processes, spoken by the first of each machine."""
    first = found[0]
    what = f"{'machines' if world.machines > 1 else 'processes'} differ in {first.fact.item}"
    value = told_apart(world, first.odd, first.fact.value, first.usual)
    more = [difference.fact.item for difference in found[1:]]
    listed = ", ".join([*more[:SHOWN_ITEMS], *(["..."] if len(more) > SHOWN_ITEMS else [])])
    remedy = first.fact.remedy + (f"; they also differ in {listed}" if more else "")
    return world.common(PeerError(what, named(world, first.odd.rank), value, remedy))


def require_equal(world: Messages, facts: Sequence[Fact]) -> None:
    """Stop all processes when they differ in a fact.

    Raises:
        PeerError: naming the machine that differs and the fact.
    """
    found = differences(world, facts)
    if found:
        raise error_of(world, found)


def _table(text: str) -> dict[str, Fact]:
    facts = [Fact(**plain) for plain in json.loads(text)]
    return {fact.item: fact for fact in facts}
