"""A run in one sentence and in a few tiles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from accel_yolo.reports.html.run import Run
from accel_yolo.reports.html.status import FINISHED, MAP50, MAP50_95, Status
from accel_yolo.reports.html.timing import Timing, images_per_s, total_s
from accel_yolo.reports.html.wording import count, duration, metric, rate, share


@dataclass(frozen=True)
class Numbers:
    """The four metrics of the best weights, and what they were measured on; None for what is not known."""

    map50: float | None = None
    map50_95: float | None = None
    precision: float | None = None
    recall: float | None = None
    images: int | None = None
    objects: int | None = None

    @property
    def any(self) -> bool:
        """Whether anything was measured."""
        return self.map50 is not None or self.map50_95 is not None


@dataclass(frozen=True)
class Tile:
    """A number that is read first."""

    name: str
    value: str
    note: str = ""


def numbers_of(run: Run, status: Status) -> Numbers:
    """Return the metrics of a run: of its last evaluation, or of its best epoch while that is still to come."""
    found = run.metrics.content
    if found is not None and (status.state == FINISHED or not run.rows):
        figures = (found.map50, found.map50_95, found.precision, found.recall)
        return Numbers(*figures, found.images, found.instances)
    row = next((row for row in run.rows if row.get("epoch") == status.best_epoch), {})
    return Numbers(row.get(MAP50), row.get(MAP50_95), row.get("metrics/precision"), row.get("metrics/recall"))


def verdict(run: Run, status: Status, numbers: Numbers) -> str:
    """Return what came of a run, in a sentence or two."""
    reached = f"mAP50 {metric(numbers.map50)} and mAP50-95 {metric(numbers.map50_95)}"
    reached += f" (precision {metric(numbers.precision)}, recall {metric(numbers.recall)})"
    where = ""
    if numbers.images is not None:
        where = f" on {count(numbers.images, 'image')}{_data(run)} with {count(numbers.objects or 0, 'object')}"
    if not run.is_training:
        return f"{reached}{where}." if numbers.any else status.detail
    done = count(status.epochs, "epoch") if status.planned is None else f"{status.epochs} of {status.planned} epochs"
    begun = {FINISHED: f"Finished after {done}"}.get(status.state, f"{status.state.capitalize()}: {done} done")
    took = total_s(run)
    if took is not None and status.epochs:
        begun += f" and {duration(took)}"
    if not numbers.any:
        return f"{begun}; nothing has been measured yet. {status.detail}".strip()
    best = f"the best weights, of epoch {status.best_epoch + 1}," if status.best_epoch is not None else "the weights"
    reach = "reach" if status.state == FINISHED else "so far reach"
    return f"{begun}: {best} {reach} {reached}{where}. {status.detail}".strip()


def _data(run: Run) -> str:
    """Return " of coco128 (val)": the data sets and the split that were measured, where they are known."""
    settings = run.settings.content
    names = [Path(name).stem for name in settings.words("data")] if settings is not None else []
    task = str(settings.value("task", "val")) if settings is not None else "val"
    return f" of {' and '.join(names)} ({task if task in ('train', 'test') else 'val'})" if names else ""


def tiles(run: Run, status: Status, numbers: Numbers, timing: Timing | None) -> list[Tile]:
    """Return the numbers that are read first; those that are not known are left out."""
    named = (
        ("mAP50-95", numbers.map50_95),
        ("mAP50", numbers.map50),
        ("Precision", numbers.precision),
        ("Recall", numbers.recall),
    )
    shown = [Tile(name, metric(value)) for name, value in named if value is not None]
    if run.is_training:
        best = f"the best is {status.best_epoch + 1}" if status.best_epoch is not None else ""
        of = f" of {status.planned}" if status.planned is not None else ""
        shown.append(Tile("Epochs", f"{status.epochs}{of}", best))
    elif numbers.images is not None:
        shown += [Tile("Images", f"{numbers.images:,}"), Tile("Objects", f"{numbers.objects or 0:,}")]
    if (speed := images_per_s(run)) is not None:
        shown.append(Tile("Images per second", rate(speed), "in training"))
    if timing is not None:
        waited = next(part for part in timing.parts if part.key == "wait")
        shown.append(Tile("Waiting for data", share(waited.share), duration(waited.seconds)))
        shown.append(Tile("Duration", duration(timing.total_s)))
    metrics = run.metrics.content
    if not run.is_training and metrics is not None and metrics.speed_ms:
        total = sum(value or 0.0 for value in metrics.speed_ms.values())
        shown.append(Tile("Time per image", f"{total:.1f} ms"))
    return shown
