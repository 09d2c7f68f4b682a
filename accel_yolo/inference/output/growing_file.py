"""A text file that is written as a run goes on and has its name only when it is whole."""

from __future__ import annotations

import os
from pathlib import Path

from accel_yolo.errors import EnvironmentFault
from accel_yolo.files import fsync_dir

PARTIAL = ".partial"


class GrowingFile:
    """Text that is added piece by piece.

    Until `close` it is called `<name>.partial`, and so it stays when the run is killed or fails: every piece up to then
    is in it. A file of its final name is whole; one of an earlier run stays until the new one takes its place.

    Args:
        path: the final name.

    Raises:
        EnvironmentFault: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(path.name + PARTIAL)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A file name may hold bytes that are not UTF-8: they are written out, as messages do.
            self._stream = self.partial.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        except OSError as error:
            raise self._fault(error) from error

    def write(self, text: str) -> None:
        """Add a piece; it is with the operating system when this returns. Raises EnvironmentFault."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            raise self._fault(error) from error

    def close(self) -> None:
        """Give the file its name, durably. Raises EnvironmentFault; the file is then still called partial."""
        try:
            os.fsync(self._stream.fileno())
            self._stream.close()
            self.partial.replace(self.path)
            fsync_dir(self.path.parent)
        except OSError as error:
            raise self._fault(error) from error

    def abandon(self) -> None:
        """Stop writing; what is there stays, under its partial name."""
        self._stream.close()

    def _fault(self, error: OSError) -> EnvironmentFault:
        return EnvironmentFault("cannot write", str(self.path), error.strerror or error, "check space and rights")
