"""What processes tell of themselves every second, and what that says when messages between them fail; pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from accel_yolo import waypoints

BEAT_S = 1.0
"""Seconds between two beats."""

OWN_WORK = ("data", "forward")
"""Places where a process works for itself: there, no other one makes it wait."""

WAITING = ("agreement", "exchange", "backward", "merging", "update")
"""Places where a process may wait for the others."""

SLOW_TIMES, SLOW_WINDOW_S, SLOW_LEAST = 3.0, 15.0, 0.3
"""A process is slow if it works that many times longer than the median of all, over that many seconds, of which its
work takes at least that share."""

_FILES = 3


@dataclass(frozen=True)
class Beat:
    """What a process says of itself.

    Attributes:
        rank, machine, host, address, pid: which process it is.
        number: grows by one with each beat.
        name, step: its place, see `waypoints`.
        for_s: seconds it had been there.
        spent: seconds at each place since the start.
        files: image files at hand.
    """

    rank: int
    machine: int = 0
    host: str = ""
    address: str = ""
    pid: int = 0
    number: int = 0
    name: str = waypoints.START
    step: int = 0
    for_s: float = 0.0
    spent: Mapping[str, float] = field(default_factory=dict)
    files: Sequence[str] = ()

    @property
    def who(self) -> str:
        """The process in words."""
        return f"process {self.rank} on {self.where}"

    @property
    def where(self) -> str:
        """Its machine in words."""
        return f"machine {self.machine} ({self.host})"

    @property
    def as_failure(self) -> dict[str, Any]:
        """What it says, by the names of `engine.failures.Failure`."""
        who = {"rank": self.rank, "machine": self.machine, "host": self.host, "pid": self.pid}
        return {**who, "step": self.step, "phase": self.name, "files": tuple(self.files)}

    @property
    def place(self) -> str:
        """Its place in words."""
        return waypoints.in_words(self.name)


@dataclass
class Seen:
    """The newest beat of a process, and when it came, by the clock of who looks."""

    beat: Beat
    since: float


class Watch:
    """What one process has seen of all."""

    def __init__(self) -> None:
        self.seen: dict[int, Seen] = {}

    def take(self, beats: Iterable[Beat], now: float) -> None:
        """Take in what was read."""
        for beat in beats:
            known = self.seen.get(beat.rank)
            if known is None or known.beat.number != beat.number:
                self.seen[beat.rank] = Seen(beat, now)

    def silent(self, rank: int, now: float) -> float:
        """Return for how many seconds a process has not been heard."""
        return now - self.seen[rank].since

    def is_silent_but_for(self, known: Container[int], long_s: float, now: float) -> bool:
        """Return whether there are others than those that are known, none of which has been heard for so long."""
        others = [rank for rank in self.seen if rank not in known]
        return bool(others) and all(self.silent(rank, now) >= long_s for rank in others)


@dataclass(frozen=True)
class Inquiry:
    """What a process knows after messages have failed and it has asked around.

    Attributes:
        rank: who asks.
        watch: what it has seen.
        now: by its clock.
        noticed: process -> what it says of its own failure, "" if it has lost others too.
        waited_s: how long the message that failed was waited for.
        stale_s: a process not heard for so long has stopped, or is out of reach.
        out_of_reach: machines that do not answer.
        gone: processes that are known to have ended.
    """

    rank: int
    watch: Watch
    now: float
    noticed: Mapping[int, str]
    waited_s: float
    stale_s: float
    out_of_reach: frozenset[int] = frozenset()
    gone: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Finding:
    """Whom the failure comes from.

    Attributes:
        message: in words.
        beat: its last beat; None where nobody was found out.
        kind: "failed", "gone", "hangs", "cut" or "".
        seconds: since when.
    """

    message: str
    beat: Beat | None = None
    kind: str = ""
    seconds: float = 0.0


def find(inquiry: Inquiry) -> Finding:
    """Return who is the reason of a failed message: a process that failed, is gone, or hangs, or a machine cut off."""
    seen, now = inquiry.watch.seen, inquiry.now
    others = [rank for rank in seen if rank != inquiry.rank]
    for rank in others:
        if inquiry.noticed.get(rank):
            return Finding(f"{seen[rank].beat.who} failed: {inquiry.noticed[rank]}", seen[rank].beat, "failed")
    silent = [rank for rank in others if rank not in inquiry.noticed]
    stale = [rank for rank in silent if inquiry.watch.silent(rank, now) >= inquiry.stale_s]
    for rank in stale:
        if seen[rank].beat.machine in inquiry.out_of_reach:
            return cut(seen[rank].beat)
    for rank in silent:
        if rank in inquiry.gone:
            beat = seen[rank].beat
            return Finding(f"{beat.who} ended without a word; {_last_word(beat)}", beat, "gone")
    if not silent:
        return Finding("messages between processes were lost, though each of them is there")
    # The one that stopped, else the one that does something of its own, else the one that is behind.
    rank = min(silent, key=lambda one: _innocence(one, one in stale, inquiry))
    return _hangs(rank, rank in stale, inquiry)


def cut(beat: Beat) -> Finding:
    """Return that the machine of a process does not answer."""
    machine = f"machine {beat.machine} ({beat.host}, {beat.address})"
    return Finding(f"lost contact with {machine}; {_last_word(beat)}", beat, "cut")


def _last_word(beat: Beat) -> str:
    return f"its last word came from {beat.place} at step {beat.step}"


def _innocence(rank: int, is_stale: bool, inquiry: Inquiry) -> tuple[bool, bool, int, float]:
    beat = inquiry.watch.seen[rank].beat
    return not is_stale, beat.name in WAITING, beat.step, -beat.for_s


def _hangs(rank: int, is_stale: bool, inquiry: Inquiry) -> Finding:
    beat = inquiry.watch.seen[rank].beat
    seconds = beat.for_s + inquiry.watch.silent(rank, inquiry.now)
    if is_stale:  # it had been there for some time, or it stopped while others began to wait for it
        seconds = max(seconds, inquiry.waited_s)
    says = f"{beat.who} hangs in {beat.place} since step {beat.step}, {seconds:.0f} s"
    if is_stale:
        says += " (it does not even run: stopped, or without a processor)"
    if beat.name == "data" and beat.files:
        says += f"; its last files: {', '.join(beat.files[:_FILES])}"
    return Finding(says, beat, "hangs", seconds)


def slow_process(before: Mapping[int, Beat], after: Mapping[int, Beat], window_s: float) -> tuple[Beat, str] | None:
    """Return a process that works several times as long as the others, with words; None if all keep up.

    Args:
        before, after: beats of all processes at both ends of a window.
        window_s: its length.
    """
    work = {rank: _work(after[rank]) - _work(before[rank]) for rank in after if rank in before}
    if len(work) < 2:
        return None
    slowest = max(work, key=lambda rank: work[rank])
    usual = median(seconds for rank, seconds in work.items() if rank != slowest)
    if work[slowest] < SLOW_TIMES * usual or work[slowest] < SLOW_LEAST * window_s:
        return None
    parts = {name: after[slowest].spent.get(name, 0.0) - before[slowest].spent.get(name, 0.0) for name in OWN_WORK}
    place = max(parts, key=lambda name: parts[name])
    share = parts[place] / max(work[slowest], 1e-9)
    words = f"{work[slowest]:.0f} s of own work in {window_s:.0f} s, the others {usual:.0f} s"
    return after[slowest], f"{words}; {share:.0%} of it in {waypoints.in_words(place)}"


def _work(beat: Beat) -> float:
    return sum(beat.spent.get(name, 0.0) for name in OWN_WORK)


def beat_from(content: dict[str, Any]) -> Beat:
    """Return a beat that travelled as JSON."""
    return Beat(**content)
