"""Progress as people see it: one bar that moves on a terminal, a whole line now and then in a file or a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO

LINE_EVERY_S = 10.0
"""Seconds between two lines where there is no terminal: enough to see that the work lives."""

BYTES, MIB = "B", 1 << 20
_REFRESH_S = 0.1
_LEAST_S = 1.0
"""No line before this: a rate from a moment says nothing."""

_BAR_FROM_COLUMNS, _LEAST_BAR, _MOST_BAR = 60, 8, 24
_UNKNOWN_WIDTH = 80


class Silent:
    """Work without a word; what all kinds of progress can do.

    Args:
        iterable: what is gone through; None where `update` counts.
        total: how many there are, None where nobody knows.
        desc: what is being done.
        unit: what is counted, in the singular; "B" is shown in MiB.
    """

    def __init__(self, iterable: Iterable[Any] | None, total: int | None, desc: str, unit: str) -> None:
        self.iterable, self.total, self.desc, self.unit = iterable, total, desc, unit

    def __iter__(self) -> Iterator[Any]:
        try:
            for item in self.iterable or ():
                yield item
                self.update(1)
        finally:
            self.close()

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()

    def update(self, count: int = 1) -> None:
        """Count as done."""

    def tell(self, *parts: str) -> None:
        """Show this from now on instead of rate and time left; what does not fit is left out from the end."""

    def close(self) -> None:
        """End it: nothing is shown any more."""


class Lines(Silent):
    """A line every ten seconds, counted over all work of this process: short pieces of work are silent.

    Args:
        write: takes a line.
    """

    _last_s: float | None = None

    def __init__(self, *about: Any, write: Callable[[str], None]) -> None:
        super().__init__(*about)
        self._write, self._done, self._parts = write, 0, ()
        self._started_s = time.monotonic()
        if Lines._last_s is None:
            Lines._last_s = self._started_s

    def update(self, count: int = 1) -> None:
        """Count as done, and write a line if it is time."""
        self._done += count
        now = time.monotonic()
        if now - (Lines._last_s or 0) >= LINE_EVERY_S and now - self._started_s >= _LEAST_S:
            Lines._last_s = now
            self._write(self._line(now - self._started_s))

    def tell(self, *parts: str) -> None:
        """Say this in the lines to come instead of rate and time left."""
        self._parts = parts

    def _line(self, seconds: float) -> str:
        share = f" ({self._done / self.total:.0%})" if self.total else ""
        done = f"{counted(self._done, self.total, self.unit)}{'' if self.unit == BYTES else f' {self.unit}s'}"
        parts = self._parts or measured_parts(self._done, self.total, self._done / seconds, self.unit)
        return ", ".join((f"{self.desc}: {done}{share}", *parts))


class Live(Silent):
    """A bar on a terminal, drawn by tqdm, in one line of whatever width."""

    def __init__(self, *about: Any, stream: TextIO) -> None:
        super().__init__(*about)
        self._bar = _tqdm()(
            total=self.total,
            desc=self.desc,
            unit=self.unit,
            file=stream,
            dynamic_ncols=True,
            mininterval=_REFRESH_S,
            leave=False,
        )

    def update(self, count: int = 1) -> None:
        """Count as done; drawn at most ten times a second."""
        self._bar.update(count)

    def tell(self, *parts: str) -> None:
        """Show this from now on."""
        self._bar.parts = parts

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


def _tqdm() -> Any:
    """Return tqdm with lines of our own, which keep what matters most where room is short."""
    from tqdm import tqdm

    class Fitted(tqdm):
        parts: Sequence[str] = ()

        def __str__(self) -> str:
            shown = self.format_dict
            rate = shown["rate"] or (shown["n"] / shown["elapsed"] if shown["elapsed"] else 0.0)
            parts = self.parts or measured_parts(shown["n"], shown["total"], rate, shown["unit"])
            # The last column stays free: some terminals begin a new line when it is filled.
            width = (shown["ncols"] or _UNKNOWN_WIDTH) - 1
            total = shown["total"]
            share = min(shown["n"] / total, 1.0) if total else None
            count = counted(shown["n"], total, shown["unit"])
            return fitted(shown["prefix"].removesuffix(": "), (share, count), parts, width, shown["ascii"])

    return Fitted


def fitted(desc: str, done: tuple[float | None, str], parts: Sequence[str], width: int, ascii_only: bool) -> str:
    """Return one line of at most `width` columns: what is done, how far, a bar if there is room, and parts that fit.

    Args:
        desc: what is being done.
        done: the share, 0..1 or None where nobody knows, and how many of how many.
        parts: the most important first.
        width: columns.
        ascii_only: the terminal draws no blocks.
    """
    from tqdm.std import Bar  # type: ignore[attr-defined]
    from tqdm.utils import disp_len, disp_trim

    share, tail = done
    head = f"{desc} " if share is None else f"{desc} {share:4.0%} "
    room = _LEAST_BAR + 3 if share is not None and width >= _BAR_FROM_COLUMNS else 0
    if share is not None and not room:  # where there is little room, the share alone says how far it is
        head, tail = head.rstrip(), ""
    for part in parts:
        if disp_len(head + tail + part) + 2 + room > width:
            break
        tail += f", {part}"
    left = min(width - disp_len(head + tail) - 3, _MOST_BAR)
    if room and left >= _LEAST_BAR:
        bar = format(Bar(share, left, charset=Bar.ASCII if ascii_only else Bar.UTF), "")
        head += f"|{bar}| "
    return disp_trim(head + tail, width)


def counted(done: int, total: int | None, unit: str) -> str:
    """Return how many of how many; bytes in MiB."""
    if unit == BYTES:
        return f"{done / MIB:.1f}" + (f"/{total / MIB:.1f} MiB" if total else " MiB")
    return f"{done}/{total}" if total else f"{done}"


def measured_parts(done: int, total: int | None, rate: float, unit: str) -> tuple[str, ...]:
    """Return rate and time left as they are shown."""
    if not rate:
        return ()
    speed = f"{rate:.1f} {unit}s/s" if rate >= 1 else f"{1 / rate:.1f} s each"
    speed = f"{rate / MIB:.1f} MiB/s" if unit == BYTES else speed
    return (speed, f"{duration((total - done) / rate)} left") if total else (speed,)


def duration(seconds: float) -> str:
    """Return a time as 1:05, 2:03:04 or 4.2 days."""
    whole = max(round(seconds), 0)
    if whole >= 100 * 3600:
        return f"{whole / 86400:.1f} days"
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
