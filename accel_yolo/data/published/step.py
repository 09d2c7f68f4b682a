"""One step of a preparation: which annotations become which files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """Labels and lists that are made from one source.

    Attributes:
        source: file or folder of annotations as published.
        results: files and folders that are made; each appears whole, so that one that is there is done.
        make: makes those that are missing.
    """

    source: Path
    results: tuple[Path, ...]
    make: Callable[[], None]

    @property
    def is_due(self) -> bool:
        """Return whether something is missing that can be made."""
        return self.source.exists() and not all(result.exists() for result in self.results)
