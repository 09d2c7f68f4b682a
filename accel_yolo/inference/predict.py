"""The predict command: images in, drawn images, label files and crops out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from accel_yolo import console
from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data.demo import ensure_demo
from accel_yolo.data.images import read_image
from accel_yolo.devices import memory_named, named_device
from accel_yolo.errors import ConfigError, DataError, escaped
from accel_yolo.files import next_run_folder
from accel_yolo.inference.asked import asked_options
from accel_yolo.inference.crops import save_crops
from accel_yolo.inference.drawing import DrawOptions
from accel_yolo.inference.encoding import write_file
from accel_yolo.inference.networks import NetworkOptions, load_network
from accel_yolo.inference.predictor import Predictor, fitting_hw
from accel_yolo.inference.results import Detections, Speed
from accel_yolo.inference.sources import distinct_stems, find_images
from accel_yolo.inference.texts import label_text

if TYPE_CHECKING:
    import torch

    from accel_yolo.config.predict_schema import PredictConfig
    from accel_yolo.inference.network import Network

_DEFAULT_SOURCE = "data/images"
_DEMO_IMAGES = 8


def predict(config: PredictConfig) -> Path:
    """Return the run folder of a prediction on every image of `config.source`.

    An image that cannot be read is skipped with a warning and counted; if none can be read the run fails.

    Raises:
        ConfigError: flags that do not go together, or a source that is not available yet.
        DataError: no source, no image, or no readable image.
        CheckpointError: weights that are missing or damaged.
    """
    # Everything that can be wrong is found out before the run folder is created.
    images = _images(config.source)
    device = named_device(config.device)
    predictor = Predictor(_network(config, device))
    options = asked_options(config, predictor.names)
    _tell_size(options.imgsz, predictor.network)

    folder = next_run_folder(Path(config.project), config.name, config.exist_ok)
    output = _Output(folder, config)
    predictor.warm_up()
    speeds: list[Speed] = []
    for number, (path, stem) in enumerate(zip(images, distinct_stems(images), strict=True), start=1):
        place = f"image {number}/{len(images)}"
        try:
            image = read_image(str(path))
        except DataError as error:
            if len(images) == 1:
                raise
            console.warn(f"{place} skipped: {error}")
            continue
        with memory_named(f"--imgsz {' '.join(map(str, config.imgsz))}", "try a smaller --imgsz or model"):
            found = predictor(image, options, path=str(path), stem=stem)
        output.write(found.rounded())
        speeds.append(found.speed)
        height, width = found.input_hw
        tiles = f" x{found.tiles}" if found.tiles > 1 else ""
        line = f"{height}x{width}{tiles} {found.summary()}, {found.speed.network_ms:.1f} ms"
        console.say(f"{place} {escaped(str(path))}: {line}")
    if not speeds:
        raise DataError("no image could be read", value=config.source, remedy="the warnings above say why")
    _tell_end(folder, speeds, len(images), options.imgsz)
    return folder


@dataclass(frozen=True)
class _Output:
    """Writes what was asked for into the run folder."""

    folder: Path
    config: PredictConfig

    def write(self, found: Detections) -> None:
        config = self.config
        if not config.nosave:
            found.save(
                self.folder,
                DrawOptions(config.line_thickness, labels=not config.hide_labels, confidences=not config.hide_conf),
            )
        if config.save_txt:
            self._write_labels(found)
        if config.save_crop:
            save_crops(found, self.folder / "crops")

    def _write_labels(self, found: Detections) -> None:
        path = self.folder / "labels" / f"{found.stem}.txt"
        text = label_text(found, corners=self.config.save_format == 1, confidence=self.config.save_conf)
        if text:
            write_file(path, text.encode("utf-8"))
        else:  # with --exist-ok an earlier run may have found something
            path.unlink(missing_ok=True)


def _images(source: str) -> list[Path]:
    """Return the images to predict on; without a `data/images` here, the default source is the demo data set."""
    if source == _DEFAULT_SOURCE and not Path(source).exists():
        folder = ensure_demo(load_data_spec("demo").root) / "images" / "val"
        console.note(f"no {source} here: predicting on {_DEMO_IMAGES} images of {folder}; name yours with --source")
        return find_images(str(folder))[:_DEMO_IMAGES]
    return find_images(source)


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


def _tell_end(folder: Path, speeds: list[Speed], images: int, imgsz: tuple[int, int]) -> None:
    prepare, network, nms = np.mean([(s.prepare_ms, s.network_ms, s.nms_ms) for s in speeds], axis=0)
    console.say(
        f"speed per image: {prepare:.1f} ms letterbox, {network:.1f} ms network, {nms:.1f} ms NMS, "
        f"at most {imgsz[0]}x{imgsz[1]} px"
    )
    skipped = f", {images - len(speeds)} skipped" if images > len(speeds) else ""
    done = "1 image" if len(speeds) == 1 else f"{len(speeds)} images"
    console.say(f"{done} done{skipped}, results in {folder}")
