"""The command `accel-yolo report`: the report of a run again, or several runs side by side."""

from __future__ import annotations

from pathlib import Path

from accel_yolo import console
from accel_yolo.config.report_schema import ReportConfig
from accel_yolo.errors import ConfigError, did_you_mean, printable
from accel_yolo.reports.html.compare_page import compare_page, verdict
from accel_yolo.reports.html.comparison import Cell, members_of, not_comparable, summary
from accel_yolo.reports.html.report import checked_out, write_page, write_report
from accel_yolo.reports.html.run import is_marked, is_run

COMPARISON = "compare.html"
_MOST_LISTED = 5


def report(config: ReportConfig) -> Path:
    """Write the report of a run, or of several side by side, say where it is and return its path.

    Raises:
        ConfigError: not the folder of a run, or the file to write is somebody's.
        EnvironmentFault: it cannot be written.
    """
    folders = list(dict.fromkeys(_folder(word) for word in config.runs))
    out = Path(config.out).expanduser() if config.out else None
    if len(folders) == 1:
        return _said(write_report(folders[0], out))
    # Beside the folders of trainings and validations, where those are.
    out = checked_out(out or (Path("runs") if Path("runs").is_dir() else Path()) / COMPARISON)
    members = members_of(folders)
    titles, rows = summary(members)
    table = [[each.letter, each.name, *map(_text, row)] for each, row in zip(members, rows, strict=True)]
    console.table([[printable(cell, 60) for cell in row] for row in table], ("", "Run", *titles))
    write_page(out, compare_page(members))
    console.say(printable(verdict(members)))
    if warning := not_comparable(members):
        console.warn(warning)
    return _said(out)


def _said(out: Path) -> Path:
    console.say(f"Report in {console.painted(str(out), 'bold')}")
    return out


def _folder(word: str) -> Path:
    """Return the run folder that a word means. Raises ConfigError."""
    path = Path(word).expanduser()
    if path.is_dir() and is_run(path):
        return path
    raise _not_a_run(path)


def _not_a_run(path: Path) -> ConfigError:
    """Return the error for a path that is not a run folder, with the nearest that is as a remedy."""
    shown = printable(str(path))
    if path.is_file():
        around = next((parent for parent in path.parents if is_run(parent)), None)
        remedy = f"did you mean its folder {printable(str(around))}?" if around else "give the folder of a run"
        return ConfigError("a file where the folder of a run is needed", value=shown, remedy=remedy)
    if not path.exists():
        known = {printable(str(folder)): folder for folder in (*_runs_in(path.parent), *_everywhere())}
        by_name = {folder.name: shown for shown, folder in reversed(known.items())}
        near = did_you_mean(path.name, by_name).removeprefix("did you mean '").removesuffix("'?")
        remedy = f"did you mean {by_name[near]}?" if near else _listed(list(known.values()))
        return ConfigError("no such run", value=shown, remedy=remedy)
    within = _runs_in(path)
    if within:
        return ConfigError("not the folder of a run, but it holds some", value=shown, remedy=_listed(within))
    if is_marked(path):
        remedy = "reports are made of trainings and validations"
        return ConfigError("nothing to report: no training or validation has written here", value=shown, remedy=remedy)
    return ConfigError("not the folder of a run", value=shown, remedy=_listed(_everywhere()))


def _listed(folders: list[Path]) -> str:
    """Return a remedy that names runs, the newest first."""
    if not folders:
        return "give a folder that a training or a validation wrote, such as runs/train/exp"
    named = " ".join(printable(str(folder), 80) for folder in folders[:_MOST_LISTED])
    return f"give one of: {named}" + (" ..." if len(folders) > _MOST_LISTED else "")


def _everywhere() -> list[Path]:
    """Return the runs in their usual place below the current folder."""
    return [folder for kind in ("train", "val") for folder in _runs_in(Path("runs") / kind)]


def _runs_in(folder: Path) -> list[Path]:
    """Return the run folders in a folder, the newest first."""
    try:
        found = [each for each in folder.iterdir() if each.is_dir() and is_run(each)]
        return sorted(found, key=lambda each: -each.stat().st_mtime)
    except OSError:
        return []


def _text(cell: Cell) -> str:
    return f"{cell.text} *" if cell.is_best else cell.text
