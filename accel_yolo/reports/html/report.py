"""Reports as files: the one that a run leaves, and where no report may be written."""

from __future__ import annotations

from pathlib import Path

from accel_yolo import console
from accel_yolo.errors import ConfigError, first_line, printable
from accel_yolo.files import write_bytes_atomic
from accel_yolo.reports.html.page import is_report
from accel_yolo.reports.html.run_page import run_page

REPORT = "report.html"


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report of the run in a folder, there unless another place is named, and return its path.

    Raises:
        ConfigError: the file to write is there and not a report.
        EnvironmentFault: it cannot be written.
    """
    out = checked_out(out or folder / REPORT)
    write_page(out, run_page(folder))
    return out


def leave_report(folder: Path) -> None:
    """Write the report at the end of a run; what goes wrong is a warning, for the run itself is well."""
    try:
        write_report(folder)
    except Exception as error:  # whatever it is, it must not cost a training
        again = f"`accel-yolo report {printable(str(folder))}` makes it again"
        console.warn(f"cannot write {REPORT}: {first_line(error)}; the run is complete, {again}")


def write_page(path: Path, text: str) -> None:
    """Write a page, whole or not at all. Raises EnvironmentFault."""
    write_bytes_atomic(path, text.encode("utf-8"))


def checked_out(out: Path) -> Path:
    """Return the file to write; a folder means a file in it. Raises ConfigError where that is no report of ours."""
    out = out / REPORT if out.is_dir() else out
    if out.exists() and not is_report(out):
        what = "the file is there and is not a report of ours"
        raise ConfigError(what, value=printable(str(out)), remedy="move it, or give another name with --out")
    return out
