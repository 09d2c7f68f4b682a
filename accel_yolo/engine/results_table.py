"""`results.csv`: a row for each epoch, in YOLOv5's columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accel_yolo import console, waypoints
from accel_yolo.engine.rows import COLUMNS
from accel_yolo.errors import EnvironmentFault
from accel_yolo.files import write_text_atomic


class ResultsTable:
    """Writes the rows of a run; one that cannot be written is kept, and written with the next.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._warned = path, False
        self._owed: dict[int, str] = {}

    def add(self, epoch: int, values: Sequence[float]) -> None:
        """Append the row of an epoch; rows of it and of later ones are of an earlier start of the run, and go."""
        self._owed[epoch] = ",".join(f"{value:20.5g}" for value in values)
        try:
            self.complete()
        except EnvironmentFault as error:
            if not self._warned:
                console.warn(f"{error}; training goes on, and the row is written with the next")
            self._warned = True

    def complete(self) -> None:
        """Write the rows that are owed. Raises EnvironmentFault."""
        if not self._owed:
            return
        try:
            waypoints.fail_at("save results")
            lines = [*_kept_lines(self._path, min(self._owed)), *self._owed.values()]
        except OSError as error:
            raise EnvironmentFault("cannot write", str(self._path), error.strerror, "check space and rights") from error
        write_text_atomic(self._path, "\n".join(lines) + "\n")
        self._owed.clear()


def _kept_lines(path: Path, epoch: int) -> list[str]:
    """Return header and rows before `epoch`. Raises OSError."""
    if not path.exists():
        return [",".join(name.rjust(20) for name in COLUMNS)]
    header, *rows = path.read_text().splitlines()
    return [header, *(row for row in rows if int(float(row.split(",")[0])) < epoch)]
