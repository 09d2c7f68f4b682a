"""The one number by which weights are compared. Needs nothing: reports do without numpy."""

from __future__ import annotations


def fitness_of(map50: float, map50_95: float) -> float:
    """Return the one number by which weights, and trials of a search, are compared."""
    return 0.1 * map50 + 0.9 * map50_95
