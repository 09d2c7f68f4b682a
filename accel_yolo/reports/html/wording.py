"""Numbers in words: durations, shares, sizes, metrics."""

from __future__ import annotations

import math

NOTHING = "–"
"""Stands where there is no number."""


def duration(seconds: float | None) -> str:
    """Return "12.3 s", "4 min 05 s", "3 h 07 min" or "2 d 5 h"."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def metric(value: float | None) -> str:
    """Return a metric with three digits behind the point, as the console shows it."""
    return NOTHING if value is None else f"{value:.3f}"


def plain(value: float | None) -> str:
    """Return a number with four significant digits."""
    if value is None:
        return NOTHING
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value)}"
    return f"{value:.4g}"


def share(value: float | None) -> str:
    """Return a share as percent; a small one is not rounded to nothing."""
    if value is None:
        return NOTHING
    return f"{value:.1%}" if 0 < value < 0.1 else f"{value:.0%}"


def rate(value: float | None) -> str:
    """Return images per second."""
    if value is None:
        return NOTHING
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def count(value: int, one: str, several: str = "") -> str:
    """Return "1 image" or "12 images", thousands grouped."""
    return f"{value:,} {one if value == 1 else several or one + 's'}"


def size(size_bytes: int) -> str:
    """Return a file size in megabytes."""
    return f"{size_bytes / 1e6:.1f} MB"


def signed(value: float) -> str:
    """Return a difference of metrics with its sign, a true minus."""
    return f"{value:+.3f}".replace("-", "−") if abs(value) >= 0.0005 else "0.000"
