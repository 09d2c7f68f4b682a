"""A process that is alone and stands still: nobody waits for it and would notice, so a thread of its own says so."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from accel_yolo import console, waypoints
from accel_yolo.engine import stacks
from accel_yolo.engine.world import World

_LOOKS = 10
"""How often a place is looked at within the time that is too long for it."""

_MAY_TAKE_LONG = (waypoints.START, "concluding")


@contextlib.contextmanager
def noticed(folder: Path, world: World, timeout_s: float) -> Iterator[None]:
    """Warn when a run of one process stays at one place for longer than a time, such as at a disk that is gone.

    Once for each place, and nothing is ended. With several processes the heartbeat does better.
    """
    if world.size > 1:
        yield
        return
    over = threading.Event()
    stacks.keep_in(folder, world.rank)
    threading.Thread(target=_watch, args=(over, timeout_s), daemon=True, name="standstill").start()
    try:
        yield
    finally:
        over.set()
        stacks.leave()
        stacks.answer_signal()  # as before


def _watch(over: threading.Event, timeout_s: float) -> None:
    told: set[str] = {*_MAY_TAKE_LONG}
    while not over.wait(timeout_s / _LOOKS):
        place = waypoints.place()
        if place.name in told or time.monotonic() - place.since < timeout_s:
            continue
        told.add(place.name)  # once: it may only be slow
        written = stacks.told(0) if stacks.write() else ""
        where = f"{waypoints.in_words(place.name)} since step {place.step}, for {time.monotonic() - place.since:.0f} s"
        files = ", ".join(waypoints.files_at_hand()[:3])
        facts = (files and f"last files: {files}", written and f"what each thread does is in {written}")
        console.warn("; ".join(filter(None, (f"nothing moves: {where}", *facts))))
