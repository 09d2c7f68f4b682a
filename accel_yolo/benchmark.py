"""The benchmark command: one detector in every format, its size, accuracy and speed in one table."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accel_yolo import console
from accel_yolo.config.data_union import load_data_union
from accel_yolo.config.export_schema import BenchmarkConfig
from accel_yolo.data.eval_loader import EvalLoader, eval_shapes
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.data.splits import SplitOptions, open_splits
from accel_yolo.engine.evaluate import EvalOptions, evaluate
from accel_yolo.engine.loaders import loader_workers
from accel_yolo.engine.world import World
from accel_yolo.errors import ConfigError, UserError
from accel_yolo.export.export import FORMATS, require_packages, size_mb, write_checked
from accel_yolo.export.pictures import check_images
from accel_yolo.export.request import ExportRequest
from accel_yolo.files import next_run_folder, write_text_atomic
from accel_yolo.inference.network import Network, TorchNetwork
from accel_yolo.inference.picture_detector import fitting_hw
from accel_yolo.inference.runtimes.opening import open_exported
from accel_yolo.metrics.nms import NmsOptions
from accel_yolo.models.weights import detector_from_weights, find_weights, load_weights

TORCH = "torch"
_NMS = NmsOptions(0.001, 0.6, multi_label=True)


@dataclass(frozen=True)
class Row:
    """One format.

    Attributes:
        format: its name; "torch" is the weights as they are.
        size_mb: of the file or folder.
        map50, map50_95: on the data.
        ms: of the network, per image.
        note: why there is nothing to measure, or how far the file is from torch.
    """

    format: str
    size_mb: float | None = None
    map50: float | None = None
    map50_95: float | None = None
    ms: float | None = None
    note: str = ""


def benchmark(config: BenchmarkConfig) -> list[Row]:
    """Return a row for each format, after printing the table and writing it to a run folder.

    A format that cannot be written or run has a row that says why; with `--hard-fail` it ends the command.

    Raises:
        UserError: bad data, weights or settings, or with `--hard-fail` a format that fails.
    """
    world = World.start(config.device, "fp32", None, "benchmark")
    path = find_weights(config.weights)
    weights = load_weights(path)
    detector = detector_from_weights(weights).to(world.device)
    stride = max(32, *detector.strides)
    hw = fitting_hw((config.imgsz, config.imgsz), stride)
    request = ExportRequest(detector, weights.meta, hw=hw, batch=config.batch, half=config.half)
    index = None if config.test else _index(config, request)
    folder = next_run_folder(Path(config.project), config.name, config.exist_ok)
    bench = _Bench(config, request, index, world, folder / path.stem)
    rows = []
    for row in bench.rows(path):
        rows.append(row)
        console.say(f"{row.format}: {_sentence(row)}")
    _report(folder, rows)
    world.end()
    return rows


@dataclass(frozen=True, eq=False)
class _Bench:
    config: BenchmarkConfig
    request: ExportRequest
    index: SplitIndex | None
    world: World
    stem: Path

    def rows(self, weights: Path) -> Iterator[Row]:
        """Yield the rows, torch first."""
        precision = "fp16" if self.config.half and self.world.device.type != "cpu" else "auto"
        torch_network = TorchNetwork(self.request.detector, precision, max(self.request.hw))
        yield self._measured(Row(TORCH, size_mb(weights)), torch_network)
        if self.config.pt_only:
            return
        images = check_images(self.config.data[0] if self.index is not None else "")
        for form in dict.fromkeys(self.config.include):
            try:
                require_packages(form)
                yield self._exported(form, images)
            except UserError as error:
                if self.config.hard_fail:
                    raise
                yield Row(form, note=str(error))

    def _exported(self, form: str, images: list[NDArray[np.uint8]]) -> Row:
        target = self.stem.with_name(self.stem.name + FORMATS[form].ending)
        difference = write_checked(self.request, form, target, images)
        note = f"within {difference.box_px:.2g} px and {difference.score:.2g} of torch"
        network = open_exported(target, form, self.request.device)
        return self._measured(Row(form, size_mb(target), note=note), network)

    def _measured(self, row: Row, network: Network) -> Row:
        if self.index is None:
            return row
        imgsz, index = max(self.request.hw), self.index
        # All formats at one input size: some have no other.
        shapes = eval_shapes(index.sizes_hw, imgsz, network.stride, self.request.hw)
        workers = loader_workers(self.config.workers, self.config.batch, self.world)
        loader = EvalLoader(index, imgsz, shapes, self.config.batch, workers)
        result = evaluate(network, loader, EvalOptions(_NMS), self.world)
        found = result.ap.map50, result.ap.map50_95, result.speed_ms["network"]
        return dataclasses.replace(row, **dict(zip(("map50", "map50_95", "ms"), found, strict=True)))


def _index(config: BenchmarkConfig, request: ExportRequest) -> SplitIndex:
    union = load_data_union(config.data, ("val",))
    if len(union.names) != request.detector.nc:
        numbers = f"{request.detector.nc} classes in the weights, {len(union.names)} in the data set"
        remedy = "give --data of the data set the weights were trained on"
        raise ConfigError("the weights do not fit the data set", "--data", numbers, remedy)
    return open_splits(union, ("val",), SplitOptions(False, "limit", config.workers))["val"]


def _sentence(row: Row) -> str:
    parts = [] if row.size_mb is None else [f"{row.size_mb:.1f} MB"]
    if row.map50_95 is not None:
        parts += [f"mAP50-95 {row.map50_95:.4f}", f"{row.ms:.1f} ms per image"]
    return ", ".join([*parts, row.note] if row.note else parts)


def _report(folder: Path, rows: list[Row]) -> None:
    """Print the table and write it as CSV and JSON."""
    fields = [field.name for field in dataclasses.fields(Row)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields)
    writer.writerows([["" if value is None else value for value in dataclasses.astuple(row)] for row in rows])
    write_text_atomic(folder / "benchmark.csv", text.getvalue())
    write_text_atomic(folder / "benchmark.json", json.dumps([dataclasses.asdict(row) for row in rows], indent=1) + "\n")
    shown = [[row.format, _number(row.size_mb, 1), _number(row.map50_95, 4), _number(row.ms, 1)] for row in rows]
    console.say("")
    for line in console.aligned([["format", "size MB", "mAP50-95", "ms per image"], *shown]):
        console.say(line)
    console.say(f"Results in {console.painted(str(folder), 'bold')}")


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
