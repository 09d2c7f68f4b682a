"""Accuracy and speed over image sizes: a table, YOLOv5's text file and a picture."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from accel_yolo.files import write_text_atomic
from accel_yolo.reports.figures import save_figure, short, take_literally

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class StudyRow:
    """One model at one image size.

    Attributes:
        weights: the file.
        imgsz: longer side of an image in the network's input, px.
        precision, recall, map50, map50_95: 0..1.
        prepare_ms, network_ms, nms_ms: milliseconds per image.
    """

    weights: str
    imgsz: int
    precision: float
    recall: float
    map50: float
    map50_95: float
    prepare_ms: float
    network_ms: float
    nms_ms: float

    @property
    def ms(self) -> float:
        """Milliseconds per image, all stages."""
        return self.prepare_ms + self.network_ms + self.nms_ms


def write_study(folder: Path, rows: Sequence[StudyRow], data: str) -> None:
    """Write `study.csv`, and for each model the text file of YOLOv5, `study_<data>_<weights>.txt`.

    A line of the text file has ten numbers: precision, recall, mAP50, mAP50-95, three losses (not measured here: 0),
    and milliseconds per image of preparation, network and NMS.

    Args:
        folder: exists.
        rows: what was measured so far.
        data: stem of the data YAML.

    Raises:
        EnvironmentFault: a file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(item.name for item in fields(StudyRow)), "ms"])
    writer.writerows([*(_plain(value) for value in astuple(row)), _plain(row.ms)] for row in rows)
    write_text_atomic(folder / "study.csv", text.getvalue())
    names = model_names([row.weights for row in rows])
    for weights, mine in models_of(rows).items():
        lines = [
            (row.precision, row.recall, row.map50, row.map50_95, 0, 0, 0, row.prepare_ms, row.network_ms, row.nms_ms)
            for row in mine
        ]
        content = "".join(" ".join(f"{value:10.4g}" for value in line) + "\n" for line in lines)
        write_text_atomic(folder / f"study_{data}_{names[weights].replace(os.sep, '-')}.txt", content)


def plot_study(path: Path, rows: Sequence[StudyRow], device: str) -> None:
    """Write `study_figure` as PNG. Raises EnvironmentFault where that is impossible."""
    save_figure(study_figure(rows, device), path)


def study_figure(rows: Sequence[StudyRow], device: str) -> Figure:
    """Return the picture: mAP50-95 over milliseconds per image, a line for each model.

    Args:
        rows: at least one.
        device: where the time was measured.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    names = model_names([row.weights for row in rows])
    for weights, mine in models_of(rows).items():
        times, scores = [row.ms for row in mine], [row.map50_95 for row in mine]
        axes.plot(times, scores, marker="o", markersize=5, label=short(names[weights]))
        for row in mine:
            axes.annotate(
                str(row.imgsz), (row.ms, row.map50_95), textcoords="offset points", xytext=(6, -11), fontsize=8
            )
    axes.set(xlabel=f"milliseconds per image on {device}", ylabel="mAP50-95", title="numbers are image sizes, px")
    axes.set_xlim(0, 1.1 * max(row.ms for row in rows))
    axes.margins(y=0.12)
    axes.grid(alpha=0.3)
    take_literally(axes.legend(loc="lower right").get_texts())
    return figure


def models_of(rows: Sequence[StudyRow]) -> dict[str, list[StudyRow]]:
    """Return the rows of each model, in the order given."""
    models: dict[str, list[StudyRow]] = {}
    for row in rows:
        models.setdefault(row.weights, []).append(row)
    return models


def model_names(weights: Iterable[str]) -> dict[str, str]:
    """Return what to call each model: the stem of its file, or as much of its path as tells it from the others."""
    files = list(dict.fromkeys(weights))
    stems = Counter(Path(name).stem for name in files)
    if max(stems.values(), default=0) < 2:
        return {name: Path(name).stem for name in files}
    paths = {name: Path(name).absolute().with_suffix("") for name in files}
    common = os.path.commonpath([path.parent for path in paths.values()])
    return {name: str(path.relative_to(common)) for name, path in paths.items()}


def _plain(value: str | float) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
