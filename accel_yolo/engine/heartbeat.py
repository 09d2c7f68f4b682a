"""A thread that tells every second where its process is, over a connection of its own, and asks around after a failure.

Messages between processes stop when one of them hangs, and then all others wait. The beats go on: a save, a validation
or a message that is waited for does not hold them up, so that the others can be told apart from the one that hangs.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Container
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from accel_yolo import console, waypoints
from accel_yolo.engine import stacks
from accel_yolo.engine.beats import (
    BEAT_S,
    SLOW_WINDOW_S,
    Beat,
    Finding,
    Inquiry,
    Watch,
    beat_from,
    cut,
    find,
    slow_process,
)
from accel_yolo.engine.failures import BEAT
from accel_yolo.engine.launched import LAUNCH_DIR, OURS, Launched
from accel_yolo.engine.network import answers, listens, local_address_towards
from accel_yolo.engine.stores import client_of, with_prefix
from accel_yolo.errors import PeerError, first_line
from accel_yolo.lifeline import is_running

READ_EVERY = 2
"""The beats of all are read at every so many of one's own."""

AGAIN_S = 5.0
"""A store that is lost is looked for at every so many seconds."""

_ALL_READ = 16
"""In larger runs, only the first process of each machine reads them."""

_TIMED_OUT_S, _CLOSED_S = 3.2, 1.8
"""How long a process looks at the others after a message has timed out, and after a connection was closed."""

_MOST_FILES = 8
_CONNECT_S, _ANSWER_S, _PAUSE_S = 10.0, 2.0, 0.2
_LOOPBACK = "127.0.0.1"


class Heartbeat:
    """The beats of this process.

    Args:
        launched: which process it is.
        timeout_s: how long a message between processes may take.
    """

    def __init__(self, launched: Launched, timeout_s: float) -> None:
        self._launched, self._timeout_s = launched, timeout_s
        own = "" if launched.machines == 1 else os.environ["MASTER_ADDR"]
        with contextlib.suppress(PeerError):
            own = local_address_towards(own) if own and launched.machine > 0 else own
        self._beat = Beat(launched.rank, launched.machine, socket.gethostname(), own, os.getpid())
        # Machine 0 reaches its own store also when its cable is pulled out.
        self._hosts = ((_LOOPBACK,) if launched.machine == 0 else ()) + (os.environ["MASTER_ADDR"],)
        self._port = int(os.environ["MASTER_PORT"])
        self._prefix = f"beats-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/"
        self._watch, self._notice, self._ending, self._dumped = Watch(), "", threading.Event(), False
        self._heard, self._owner = time.monotonic(), os.getpid()
        self._window: tuple[float, dict[int, Beat]] | None = None
        self._named: set[int] = set()
        self._spare: Any = None
        self._thread = threading.Thread(target=self._live, daemon=True, name="heartbeat")
        self._thread.start()
        atexit.register(self.end)

    def end(self) -> None:
        """Stop the beats; a thread that waits for an answer that will not come must not hold up the end."""
        self._ending.set()
        if self._owner == os.getpid():
            self._thread.join(BEAT_S)

    def tell(self, message: str) -> None:
        """Tell the others that this process fails, and why, before it ends."""
        self._notice = message
        self._within(_ANSWER_S, lambda: self._spare.set(f"notice/{self._beat.rank}", message))

    def find_out(self, waited_s: float, has_timed_out: bool) -> Finding:
        """Return whom a failed message comes from, after a look at all others for some seconds.

        Args:
            waited_s: how long it was waited for.
            has_timed_out: it was; else a connection was closed, as at the end of a process.
        """
        window_s = _TIMED_OUT_S if has_timed_out else _CLOSED_S
        result: list[tuple[Watch, dict[int, str]]] = []
        self._within(window_s + 1.0, lambda: result.append(self._asked_around(window_s)))
        if not result:
            return self._cut_off(waited_s, has_timed_out)
        watch, noticed = result[0]
        inquiry = Inquiry(self._beat.rank, watch, time.monotonic(), noticed, waited_s, stale_s=window_s * 0.75)
        away = self._out_of_reach(inquiry)
        inquiry = replace(inquiry, out_of_reach=away, gone=self._gone(inquiry, away, has_timed_out))
        finding = find(inquiry)
        if finding.kind == "hangs":
            stacks.write()
            self._within(_ANSWER_S, lambda: self._spare.set("evidence", "asked"))
        return finding

    def speaks(self, finding: Finding) -> bool:
        """Return whether this process is the one of its machine that says what was found: the first to ask.

        Where the store does not answer, it is the first process there that can.
        """
        asked: list[bool] = []
        key = f"speaker/{self._beat.machine}"
        self._within(_ANSWER_S, lambda: asked.append(self._spare.add(key, 1) == 1))
        first, culprit = self._launched.rank - self._launched.local_rank, finding.beat
        first += culprit is not None and culprit.rank == first
        return asked[0] if asked else self._launched.rank == first

    def _live(self) -> None:
        store: Any = None
        while not self._ending.is_set():
            try:
                if store is None:
                    # Another connection for questions: one on which an answer does not come is of no use any more. It
                    # is made now, because to make it stops all threads of a process while the other side is silent.
                    store, self._spare = self._store(), self._store()
                self._one_beat(store)
                self._ending.wait(BEAT_S)
            except (RuntimeError, OSError, ValueError) as error:
                store = None
                self._look_for_the_store(error)
        stacks.write_no_more()

    def _look_for_the_store(self, error: Exception) -> None:
        """Wait until the store can be reached again, or the run ends."""
        if not self._ending.is_set():
            console.log(f"note: the heartbeat has lost its store and looks for it: {first_line(error)}")
        while not self._ending.wait(AGAIN_S):
            # This process is well: nothing must write its stacks meanwhile.
            stacks.write_unless_called_within(self._timeout_s + 2 * BEAT_S)
            if any(listens(host, self._port) for host in self._hosts):
                return

    def _one_beat(self, store: Any) -> None:
        place, now = waypoints.place(), time.monotonic()
        self._beat = replace(
            self._beat,
            number=self._beat.number + 1,
            name=place.name,
            step=place.step,
            for_s=now - place.since,
            spent=waypoints.spent(),
            files=tuple(waypoints.files_at_hand()[:_MOST_FILES]),
        )
        # Not even this thread runs in a process that hangs in a call which holds the interpreter.
        stacks.write_unless_called_within(self._timeout_s + 2 * BEAT_S)
        text = json.dumps(asdict(self._beat))
        if folder := os.environ.get(LAUNCH_DIR):
            with contextlib.suppress(OSError):
                (Path(folder) / f"{self._beat.rank}{BEAT}").write_text(text, encoding="utf-8")
        store.set(f"beat/{self._beat.rank}", text)
        if store.check(["evidence"]) and not self._dumped:
            self._dumped = True
            stacks.write()
        self._heard = time.monotonic()
        reads = self._launched.local_rank == 0 or self._launched.size <= _ALL_READ
        if reads and self._beat.number % READ_EVERY == 0:
            self._read(store, self._watch)
            self._name_a_slow_one()

    def _read(self, store: Any, watch: Watch) -> None:
        keys = [f"beat/{rank}" for rank in range(self._launched.size)]
        keys = keys if store.check(keys) else [key for key in keys if store.check([key])]
        beats = [beat_from(json.loads(text)) for text in store.multi_get(keys)] if keys else []
        watch.take(beats, time.monotonic())

    def _name_a_slow_one(self) -> None:
        """Warn once of a process that keeps all others waiting; process 0 does."""
        now, beats = time.monotonic(), {rank: seen.beat for rank, seen in self._watch.seen.items()}
        if self._launched.rank > 0 or any(beat.name == waypoints.START for beat in beats.values()):
            return
        if self._window is None:
            self._window = now, beats
        since, before = self._window
        if now - since < SLOW_WINDOW_S:
            return
        self._window = now, beats
        found = slow_process(before, beats, now - since)
        if found is not None and found[0].rank not in self._named:
            self._named.add(found[0].rank)
            console.warn(f"{found[0].who} is slow, and all others wait for it: {found[1]}")

    def _asked_around(self, window_s: float) -> tuple[Watch, dict[int, str]]:
        """Return what is seen of the others within a time, beginning with what was seen before.

        It ends earlier when one says what has failed, and when nobody is left who would still say anything.
        """
        store, watch = self._spare, self._watch
        store.set(f"notice/{self._beat.rank}", self._notice)
        end_s, noticed = time.monotonic() + window_s, dict[int, str]()
        while time.monotonic() < end_s:
            self._read(store, watch)
            for rank in watch.seen:
                if rank not in noticed and store.check([f"notice/{rank}"]):
                    noticed[rank] = store.get(f"notice/{rank}").decode("utf-8", "replace")
            known = {*noticed, self._beat.rank}
            if any(noticed.values()) or watch.is_silent_but_for(known, window_s, time.monotonic()):
                break
            time.sleep(_PAUSE_S)
        return watch, noticed

    def _cut_off(self, waited_s: float, has_timed_out: bool) -> Finding:
        """Return what is left to say when not even the store answers: it is on machine 0, or in process 0 itself."""
        known = self._watch.seen.get(0)
        if known is not None and self._beat.machine == 0:
            self._watch.seen = {0: known}
            return find(Inquiry(self._beat.rank, self._watch, time.monotonic(), {}, waited_s, stale_s=0.0))
        if known is None and self._beat.machine == 0:
            did = "does not answer" if has_timed_out else "ended without a word"
            return Finding(f"process 0 on machine 0 ({self._beat.host}) {did}", None, "gone")
        if known is None:
            return Finding(f"lost contact with machine 0 ({os.environ['MASTER_ADDR']})", None, "cut")
        beat = replace(known.beat, address=os.environ["MASTER_ADDR"])
        return cut(beat)

    def _out_of_reach(self, inquiry: Inquiry) -> frozenset[int]:
        """Return the machines of which nothing is heard and that do not answer."""
        silent: dict[int, tuple[str, bool]] = {}
        for rank, seen in inquiry.watch.seen.items():
            is_stale = inquiry.watch.silent(rank, inquiry.now) >= inquiry.stale_s
            _, others = silent.get(seen.beat.machine, ("", True))
            silent[seen.beat.machine] = seen.beat.address, others and is_stale
        mine = self._beat.machine
        stale = {machine: place for machine, (place, is_stale) in silent.items() if is_stale and machine != mine}
        return frozenset(machine for machine, place in stale.items() if not answers(place, self._port))

    def _gone(self, inquiry: Inquiry, away: Container[int], has_timed_out: bool) -> frozenset[int]:
        """Return the processes that have ended: on this machine one sees it, on others a closed connection says so."""
        found = set()
        for rank, seen in inquiry.watch.seen.items():
            beat = seen.beat
            if beat.machine == self._beat.machine:
                has_ended = not is_running(beat.pid)
            else:
                is_stale = inquiry.watch.silent(rank, inquiry.now) >= inquiry.stale_s
                has_ended = is_stale and not has_timed_out and beat.machine not in away
            if has_ended and rank != inquiry.rank:
                found.add(rank)
        return frozenset(found)

    def end_hung(self, finding: Finding) -> None:
        """Have a process of this machine that hangs leave its stacks, and end it where its launcher would not soon."""
        beat, mine = finding.beat, self._beat
        is_here = beat is not None and (beat.machine, beat.host) == (mine.machine, mine.host)
        if finding.kind != "hangs" or beat is None or not is_here or stacks.ASK is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(beat.pid, stacks.ASK)
            os.kill(beat.pid, signal.SIGCONT)  # one that is stopped takes no other signal
            time.sleep(2 * _PAUSE_S)
            if self._launched.launcher != OURS:
                os.kill(beat.pid, signal.SIGKILL)

    def _store(self) -> Any:
        """Return a new connection to the store."""
        for host in self._hosts[:-1]:
            with contextlib.suppress(RuntimeError):
                return with_prefix(self._prefix, client_of(host, self._port, _ANSWER_S))
        return with_prefix(self._prefix, client_of(self._hosts[-1], self._port, _CONNECT_S))

    def _within(self, seconds: float, work: Callable[[], Any]) -> None:
        """Do what needs the store in a thread, and wait for it at most so long, the last time if no answer comes."""
        if self._spare is None:
            return

        def tried() -> None:
            with contextlib.suppress(RuntimeError, OSError, ValueError):
                work()

        thread = threading.Thread(target=tried, daemon=True, name="inquiry")
        thread.start()
        thread.join(seconds)
        if thread.is_alive():
            self._spare = None
