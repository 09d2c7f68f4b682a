"""The predict command: pictures in, drawn pictures and videos, label files and crops out."""

from __future__ import annotations

import contextlib
import itertools
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from accel_yolo import console
from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data.demo import ensure_demo
from accel_yolo.devices import named_device
from accel_yolo.errors import ConfigError
from accel_yolo.files import next_run_folder
from accel_yolo.inference.asked import asked_options
from accel_yolo.inference.looking import Watchers, go_in_turn, looked_at
from accel_yolo.inference.networks import NetworkOptions, load_network
from accel_yolo.inference.output.outputs import Outputs
from accel_yolo.inference.output.report import Report
from accel_yolo.inference.predictor import PredictOptions, Predictor, fitting_hw
from accel_yolo.inference.results import Detections
from accel_yolo.inference.sources.background import Behind
from accel_yolo.inference.sources.batches import batches_of, first_readable
from accel_yolo.inference.sources.frames import Frame, Unreadable
from accel_yolo.inference.sources.items import numbered
from accel_yolo.inference.sources.named import find_items
from accel_yolo.inference.sources.reading import MOST_BYTES
from accel_yolo.inference.tracking import asked_tracks

if TYPE_CHECKING:
    import torch

    from accel_yolo.config.predict_schema import PredictConfig
    from accel_yolo.inference.network import Network
    from accel_yolo.inference.picture_detector import PictureDetector
    from accel_yolo.inference.sources.items import Item

    Batches = Generator[Sequence[Frame | Unreadable]]

_DEFAULT_SOURCE = "data/images"
_DEMO_IMAGES = 8


def predict(config: PredictConfig) -> Path:
    """Return the run folder of a prediction on everything that `config.source` names.

    What cannot be read is skipped with a warning and counted; if nothing can be read the run fails. Ctrl-C ends it with
    complete files; for streams, which have no end, that is the end of the run.

    Raises:
        ConfigError: flags that do not go together, or a source that is not supported.
        DataError: no source, or nothing readable.
        CheckpointError: weights that are missing or damaged.
        EnvironmentFault: a camera or stream that does not answer, or no room.
    """
    # Everything that can be wrong is found out before the run folder is created: a picture is read as well.
    items = _items(config.source)
    tracks = asked_tracks(config, items)
    device = named_device(config.device)
    predictor = Predictor(_network(config, device))
    options = asked_options(config, predictor.names)
    watchers = Watchers(config, predictor, items)
    _tell_size(options.imgsz, predictor.network)
    report = Report(config.verbose)
    is_live, in_turn = items[0].kind == "stream", go_in_turn(items, config.batch, predictor)
    with contextlib.closing(_batches(items, predictor, options, config)) as batches, watchers.closing():
        first = first_readable(batches, items, config.source, report.unreadable)
        outputs = Outputs(next_run_folder(Path(config.project), config.name, config.exist_ok), config)
        predictor.warm_up()
        report.start()
        try:
            with _writing(outputs) as writer, _ends_with_ctrl_c(is_live):
                looked = looked_at(predictor, itertools.chain([first], batches), options, in_turn=in_turn)
                for frame, found in report.readable(looked):
                    detections = found if tracks is None else tracks.follow(frame, found)
                    writer.put((frame, detections))
                    report.found(frame, detections)
                    watchers.see(frame, detections, options, outputs.folder)
        finally:
            report.close()
            if report.pictures:
                report.end(outputs.folder, predictor.network.fixed_hw or options.imgsz, outputs.write_ms)
    return outputs.folder


def _batches(
    items: Sequence[Item], detector: PictureDetector, options: PredictOptions, config: PredictConfig
) -> Batches:
    return batches_of(items, detector, options, config.batch, config.vid_stride, config.stream_timeout)


@contextlib.contextmanager
def _writing(outputs: Outputs) -> Iterator[Behind[tuple[Frame, Detections]]]:
    """Give a thread that writes; at the end, however it comes, what was handed over is written and complete.

    Only an interrupt while the rest is written drops it: tables then keep the name that says so.
    """
    whole = False
    room = 16
    writer: Behind[tuple[Frame, Detections]] = Behind(
        lambda seen: outputs.write(*seen), room, MOST_BYTES, lambda seen: seen[0].weight
    )
    try:
        try:
            yield writer
        finally:
            writer.finish()
        whole = True
    finally:
        # Nothing is completed while the thread still writes to it.
        writer.stop()
        outputs.close(whole)


@contextlib.contextmanager
def _ends_with_ctrl_c(is_live: bool) -> Iterator[None]:
    """Take Ctrl-C and SIGTERM, by which service managers end a program, as the end of streams, which have no other."""
    if not is_live:
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    # A handler that a host program has set outside Python could not be put back.
    takes = threading.current_thread() is threading.main_thread() and before is not None
    try:
        with contextlib.suppress(KeyboardInterrupt):
            if takes:
                signal.signal(signal.SIGTERM, signal.default_int_handler)
            yield
    finally:
        if takes:
            signal.signal(signal.SIGTERM, before)


def _items(source: str) -> list[Item]:
    """Return what to predict on; without a `data/images` here, the default source is the demo data set."""
    if source == _DEFAULT_SOURCE and not Path(source).exists():
        folder = ensure_demo(load_data_spec("demo").root) / "images" / "val"
        console.note(f"no {source} here: predicting on {_DEMO_IMAGES} images of {folder}; name yours with --source")
        return numbered(find_items(str(folder))[:_DEMO_IMAGES])
    return find_items(source)


@console.timed("loading the weights")
def _network(config: PredictConfig, device: torch.device) -> Network:
    how = NetworkOptions(config.precision, config.augment, config.fusion, config.dnn)
    network = load_network(config.weights, device, how)
    if config.data:
        names = load_data_spec(config.data, splits=()).names
        if len(names) != len(network.names):
            numbers = f"{len(names)} names, the weights have {len(network.names)} classes"
            raise ConfigError("names do not fit the weights", config.data, numbers, "leave --data out")
        network.names = names
    return network


def _tell_size(imgsz: tuple[int, int], network: Network) -> None:
    if network.fixed_hw is not None:
        network.tell_fixed_size(imgsz)
        return
    stride = network.stride
    fitting = fitting_hw(imgsz, stride)
    if fitting != imgsz:
        console.warn(f"--imgsz {imgsz[0]} {imgsz[1]} is no multiple of {stride}; using {fitting[0]} {fitting[1]}")
