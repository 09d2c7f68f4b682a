"""The scaling report as a table, in Markdown and as CSV. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from accel_yolo.reports.advice import Tuning, advice
from accel_yolo.reports.scaling import Epoch, Measured, Scale, epoch_of
from accel_yolo.reports.scaling_prediction import limit, predicted, prediction_error
from accel_yolo.reports.step_parts import PART_COLUMNS, part_cells

PREDICTED_PROCESSES = (8, 16, 64)
COLUMNS = (
    "devices",
    "batch",
    "memory of each",
    "train, an epoch",
    "val",
    "images/s",
    "speed-up",
    "efficiency",
    "data",
    "compute",
    "communication",
    "serial",
    "predicted images/s",
)
CSV_COLUMNS = (
    "devices",
    "kind",
    "batch",
    "memory_min_bytes",
    "memory_max_bytes",
    "reserved_min_bytes",
    "reserved_max_bytes",
    "train_s",
    "val_s",
    "scaled_by",
    "images_per_s",
    "speed_up",
    "efficiency",
    "data_percent",
    "compute_percent",
    "communication_percent",
    "serial_percent",
    "prediction_error_percent",
    "step_s",
    "step_ready_batch_s",
    "step_without_exchange_s",
    "scatter_s",
    "control_word_s",
    "allreduce_s",
    "latency_s",
    "traffic_bytes",
    "checkpoint_s",
    "index_s",
    "merge_s",
)

_HOW = (
    "Every step is an update, and the batch of each device stays the same. Times of an epoch are times of a step, "
    "times its steps. The split is that of the training and of the serial work beside it (opening the data set, "
    "writing checkpoints, merging metrics). A prediction keeps data and computing of a device, lets the exchange grow "
    "as a ring does, and keeps the serial work. That of the first count above one uses one process, the same "
    "processes while they exchange nothing, and a sum of the gradient's size on its own. Weights are untrained: a "
    "trained detector finds more boxes, which takes validation longer."
)

_WHERE = "Where the time goes, means over steps and processes, and what to change:"


@dataclass(frozen=True)
class Report:
    """What one run of the profile says.

    Attributes:
        worlds: what was measured, fewest processes first.
        scale: the epoch that times are given for.
        subject: what was trained, on what, with which versions: one line.
        command: what was typed.
        tunings: where the steps of each of these worlds go; () leaves that out.
    """

    worlds: tuple[Measured, ...]
    scale: Scale
    subject: str
    command: str
    tunings: tuple[Tuning, ...] = ()

    @property
    def epochs(self) -> list[Epoch]:
        """The measured epochs."""
        return [epoch_of(world, self.scale) for world in self.worlds]

    @property
    def predictions(self) -> list[Epoch]:
        """The predicted epochs of more processes than were measured; none without a world of several processes."""
        most = self.worlds[-1].processes
        guesses = [predicted(self.worlds, count, self.scale) for count in PREDICTED_PROCESSES if count > most]
        return [guess for guess in guesses if guess is not None]

    def rows(self) -> list[list[str]]:
        """Return the cells under `COLUMNS`."""
        first = self.epochs[0]
        return [self._row(epoch, first) for epoch in (*self.epochs, *self.predictions)]

    def _row(self, epoch: Epoch, first: Epoch) -> list[str]:
        world = epoch.measured
        marks = "*" if self.scale.factor != 1 else "", "*" if self.scale.val_factor != 1 else ""
        error = prediction_error(self.worlds, world, self.scale) if world else None
        guess = "-" if error is None else f"{epoch.images_per_s * (1 + error):.1f} ({error:+.0%})"
        return [
            str(epoch.processes) if world else f"{epoch.processes} (predicted)",
            str(epoch.batch),
            spread(world.memory_bytes) if world else "-",
            clock(epoch.split.train_s) + marks[0],
            clock(epoch.val_s) + marks[1],
            f"{epoch.images_per_s:.1f}",
            f"{epoch.speed_up(first):.2f}",
            f"{epoch.efficiency(first):.0%}",
            *(f"{share:.1f} %" for share in epoch.split.percent()),
            guess,
        ]

    def remarks(self) -> list[str]:
        """Return what the table leaves open, a sentence or two each."""
        scale, lines = self.scale, []
        if scale.factor != 1:
            lines.append(f"* training scaled by {scale.factor:.4g}: from {scale.own_images} to {scale.images} images.")
        if scale.val_factor != 1:
            what = f"from {scale.own_val_images} to {scale.val_images} images"
            lines.append(f"* validation scaled by {scale.val_factor:.4g}: {what}.")
        if self.predictions and self.predictions[-1].processes == PREDICTED_PROCESSES[-1]:
            lines.append(limit(self.epochs[0], self.predictions[-1]))
        elif len(self.worlds) == 1:
            lines.append("No prediction: it needs one process and several, such as --processes 1,2.")
        return lines

    def part_rows(self) -> list[list[str]]:
        """Return the cells under `step_parts.PART_COLUMNS`."""
        return [
            part_cells(world.processes, tuning.parts, tuning.val_share)
            for world, tuning in zip(self.worlds, self.tunings, strict=False)
        ]

    def advice(self) -> list[str]:
        """Return what to change about the run of the most processes, a line each."""
        return advice(self.tunings[-1]) if self.tunings else []

    def markdown(self) -> str:
        """Return the whole report."""
        details = [_details(world) for world in self.worlds]
        parts = [
            "# Scaling",
            f"{self.subject}.",
            f"```\n{self.command}\n```",
            _markdown_table(COLUMNS, self.rows()),
            "\n\n".join(self.remarks()),
            *([_WHERE, _markdown_table(PART_COLUMNS, self.part_rows())] if self.tunings else []),
            "\n".join(f"- {line}" for line in self.advice()),
            _HOW,
            "What was measured, in milliseconds, the slowest process each time:",
            _markdown_table(tuple(details[0]), [list(row.values()) for row in details]),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def csv(self) -> str:
        """Return the numbers under `CSV_COLUMNS`."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        first = self.epochs[0]
        for epoch in (*self.epochs, *self.predictions):
            writer.writerow([_plain(value) for value in self._numbers(epoch, first)])
        return stream.getvalue()

    def _numbers(self, epoch: Epoch, first: Epoch) -> list[object]:
        world = epoch.measured
        error = prediction_error(self.worlds, world, self.scale) if world else None
        memory: list[object] = [None] * 4
        details: list[object] = [None] * 11
        if world is not None:
            held, reserved = world.memory_bytes, world.reserved_bytes
            memory = [min(held), max(held), min(reserved), max(reserved)]
            details = [world.full_s, world.exchange_s, world.alone_s, world.scatter_s]
            details += [world.control_s, world.allreduce_s, world.latency_s, world.traffic_bytes]
            details += [world.checkpoint_s, world.index_s, world.merge_s]
        return [
            epoch.processes,
            "measured" if world else "predicted",
            epoch.batch,
            *memory,
            epoch.split.train_s,
            epoch.val_s,
            self.scale.factor,
            epoch.images_per_s,
            epoch.speed_up(first),
            epoch.efficiency(first),
            *epoch.split.percent(),
            None if error is None else 100 * error,
            *details,
        ]


def clock(seconds: float) -> str:
    """Return a duration as people read it: "0.8 s", "12 s", "20:39", "1:02:03"."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def spread(sizes_bytes: Sequence[int]) -> str:
    """Return the least and the most of some sizes: "26.0 GB", or "25.9 to 26.0 GB"."""
    unit, divisor = ("GB", 1e9) if max(sizes_bytes) >= 1e9 else ("MB", 1e6)
    low, high = f"{min(sizes_bytes) / divisor:.1f}", f"{max(sizes_bytes) / divisor:.1f}"
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _details(world: Measured) -> dict[str, str]:
    several = world.processes > 1
    bandwidth = f"{world.traffic_bytes / world.allreduce_s / 1e9:.2f} GB/s" if several else "-"
    times_s = {
        "step of the loop": world.full_s,
        "getting the batch": world.data_s,
        "loop, no exchange": world.apart_s,
        "step on a ready batch": world.exchange_s,
        "no exchange": world.alone_s,
        "scatter of the difference": world.scatter_s,
        "control word": world.control_s,
        "sum of the gradient": world.allreduce_s,
        "sum of 8 bytes": world.latency_s,
        "checkpoints": world.checkpoint_s,
        "index": world.index_s,
        "merge": world.merge_s,
    }
    cells = {name: _milliseconds(value) for name, value in times_s.items()}
    sizes = {"traffic": f"{world.traffic_bytes / 1e6:.1f} MB", "gradient/time": bandwidth}
    whole = {"whole process or reserved": spread(world.reserved_bytes)}
    return {"devices": str(world.processes), **cells, **sizes, **whole}


def _milliseconds(seconds: float) -> str:
    value = seconds * 1e3
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(value: object) -> object:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value
