"""Everything a report knows of a run: its folder, read once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from accel_yolo.files import RUN_MARK
from accel_yolo.models.licence import KEY
from accel_yolo.reports.events import ENVIRONMENT, METRICS
from accel_yolo.reports.html.history import History, read_history
from accel_yolo.reports.html.reading import Found, csv_rows, epochs_table, json_as, number, read
from accel_yolo.reports.html.schemas import Environment, Failure, Metrics, Session, WeightsNote
from accel_yolo.reports.html.settings import Settings, read_settings

TRAIN, VAL = "train", "val"
CURVES = ("PR_curve", "F1_curve", "P_curve", "R_curve")
WEIGHTS = ("best", "last")
SIGNS = ("results.csv", "metrics.json", METRICS, "config.yaml")
"""A folder with none of these is not that of a training or a validation."""

_MAX_HEADER_BYTES = 8 << 20
EpochTable = list[dict[str, float | None]]


@dataclass(frozen=True)
class CurveTable:
    """The numbers of a curve: abscissa, and a column for the mean and for each class; points without a number left
    out."""

    x: list[float]
    columns: dict[str, list[float | None]]


@dataclass(frozen=True)
class ConfusionTable:
    """Counts of a confusion matrix: rows are predicted classes, columns true ones, the last of both is nothing."""

    names: list[str]
    counts: list[list[float]]


@dataclass(frozen=True)
class WeightsFile:
    """A weights file of the run."""

    name: str
    size_bytes: int
    note: WeightsNote


@dataclass(frozen=True)
class Run:
    """What the files of a run say; each is there, or a sentence says why not."""

    folder: Path
    settings: Found[Settings]
    epochs: Found[EpochTable]
    history: Found[History]
    sessions: Found[Sequence[Session]]
    metrics: Found[Metrics]
    failure: Found[Failure]
    worst: Found[list[list[str]]]
    curves: dict[str, Found[CurveTable]]
    confusion: Found[ConfusionTable]
    weights: dict[str, Found[WeightsFile]]
    newest_s: float
    """When a file of the folder was written last, s since 1970."""

    @property
    def is_training(self) -> bool:
        """Whether this is a training; what is not known to be a validation is one."""
        if self.settings.content is not None:
            return self.settings.content.command != VAL
        return self.metrics.content is None or self.epochs.content is not None

    @property
    def rows(self) -> EpochTable:
        """The epochs of `results.csv`; none where it cannot be read."""
        return self.epochs.content or []

    @property
    def name(self) -> str:
        """The last two parts of its folder: `train/exp`."""
        return "/".join(self.folder.resolve().parts[-2:])


def is_run(folder: Path) -> bool:
    """Return whether a folder holds what a training or a validation leaves."""
    return any((folder / name).is_file() for name in SIGNS)


def is_marked(folder: Path) -> bool:
    """Return whether any command of ours has written into a folder."""
    return (folder / RUN_MARK).is_file()


def read_run(folder: Path) -> Run:
    """Return what the files of a run folder say; whatever they hold, nothing is raised."""
    sessions = read(folder / ENVIRONMENT, json_as(Environment))
    return Run(
        folder=folder,
        settings=read(folder / "config.yaml", read_settings),
        epochs=read(folder / "results.csv", epochs_table),
        history=read(folder / METRICS, read_history, is_whole=False),
        sessions=Found(sessions.content.sessions if sessions.content else None, sessions.problem),
        metrics=read(folder / "metrics.json", json_as(Metrics)),
        failure=read(folder / "failure.json", json_as(Failure)),
        worst=read(folder / "worst.csv", csv_rows),
        curves={stem: read(folder / f"{stem}.csv", _curve) for stem in CURVES},
        confusion=read(folder / "confusion_matrix.csv", _confusion),
        weights={name: read(folder / "weights" / f"{name}.safetensors", _weights, is_whole=False) for name in WEIGHTS},
        newest_s=_newest_s(folder),
    )


def _newest_s(folder: Path) -> float:
    """Return when the run last wrote something; its report is not counted, whoever made that."""
    newest = 0.0
    for name in ("log.txt", METRICS, "results.csv", "metrics.json", "config.yaml"):
        try:
            newest = max(newest, (folder / name).stat().st_mtime)
        except OSError:
            continue
    return newest


def _curve(path: Path) -> CurveTable:
    header, *rows = csv_rows(path)
    numbers = [[number(cell) for cell in row] for row in rows if len(row) == len(header)]
    kept = [row for row in numbers if row[0] is not None]
    if len(header) < 2 or not kept:
        raise ValueError("it has no curve")
    x = [row[0] or 0.0 for row in kept]
    return CurveTable(x, {name: [row[place] for row in kept] for place, name in enumerate(header) if place})


def _confusion(path: Path) -> ConfusionTable:
    header, *rows = csv_rows(path)
    names = header[1:]
    counts = [[number(cell) or 0.0 for cell in row[1:]] for row in rows]
    if not names or len(counts) != len(names) or any(len(row) != len(names) for row in counts):
        raise ValueError("it is not square")
    return ConfusionTable(names, counts)


def _weights(path: Path) -> WeightsFile:
    """Return what a safetensors file says of itself: its header, which is JSON; the numbers are not touched."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length <= min(size - 8, _MAX_HEADER_BYTES):
            raise ValueError("it is damaged or empty")
        metadata = json.loads(stream.read(length)).get("__metadata__", {})
    if KEY not in metadata:
        raise ValueError("it does not say where it comes from")
    return WeightsFile(path.name, size, msgspec.convert(json.loads(metadata[KEY]), WeightsNote))
