"""What `torch.hub.load` gives: our detectors behind the signatures that users of YOLOv5 write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from accel_yolo import console
from accel_yolo.devices import named_device
from accel_yolo.errors import ConfigError
from accel_yolo.inference.interface.hub_results import Results
from accel_yolo.inference.interface.image_input import ImageLike, is_network_input
from accel_yolo.inference.interface.loading import open_detector
from accel_yolo.inference.interface.model import Model
from accel_yolo.inference.network import TorchNetwork
from accel_yolo.inference.predictor import Predictor
from accel_yolo.models.weights import detector_from_weights, find_weights, load_weights
from accel_yolo.models.zoo import build_detector, model_spec

if TYPE_CHECKING:
    import torch

    from accel_yolo.models.detector import Detector

RGB = 3
COCO_CLASSES = 80


class HubModel(Model):
    """A model whose calls return `Results`; the attributes `conf`, `iou`, `classes` and so on are those of `Model`."""

    def __call__(
        self,
        images: ImageLike | Sequence[ImageLike],
        size: int | tuple[int, int] | None = None,
        augment: bool = False,
        profile: bool = False,
        **options: Any,
    ) -> Any:
        """Return the objects found as `Results`, for one image too.

        Args:
            images: see `Model.__call__`; a float tensor [B, 3, H, W] is given to the network as it is.
            size: longest side of the network input, px (640). Each image is padded on its own, so its objects do not
                depend on the others in the list.
            augment: look at each image three times.
            profile: accepted as it is in YOLOv5; times are always in the result.
            options: see `Model.__call__`.

        Raises:
            DataError, ConfigError: see `Model.__call__`.
        """
        if is_network_input(images):
            return self.predictions(images)  # pyright: ignore[reportArgumentType]
        model = self._augmented() if augment else self
        found = Model.__call__(model, images, size, **options)
        return Results([found] if not isinstance(found, list) else found, self.names)

    def _augmented(self) -> HubModel:
        from accel_yolo.inference.augmented import AugmentedNetwork

        twin = HubModel(Predictor(AugmentedNetwork(self._torch_network)), self.source)
        for name in ("conf", "iou", "classes", "agnostic", "multi_label", "max_det", "batch_size", "imgsz"):
            setattr(twin, name, getattr(self, name))
        return twin

    @property
    def model(self) -> Detector:
        """The torch module."""
        return self.detector


def from_weights(
    path: str | Path, autoshape: bool = True, verbose: bool = True, device: str | torch.device | None = None
) -> HubModel | Detector:
    """Return the model in a weights file (see `accel_yolo.load`), or the bare torch module, which can be trained.

    Raises:
        CheckpointError: no such weights, or damaged ones.
    """
    with console.quiet_unless(verbose):
        if not autoshape:
            return detector_from_weights(load_weights(find_weights(str(path)))).to(_device(device))
        return HubModel(*open_detector(path, "" if device is None else str(device)))


def by_name(
    name: str,
    pretrained: bool = True,
    channels: int = 3,
    classes: int = COCO_CLASSES,
    autoshape: bool = True,
    device: str | torch.device | None = None,
) -> HubModel | nn.Module:
    """Return a model of the family: published weights, or a fresh one.

    Args:
        name: such as "yolov5s".
        pretrained: fetch the published weights; with another number of classes the head starts fresh.
        channels: 3.
        classes: number of classes.
        autoshape: return a model that takes images, instead of the bare torch module.
        device: see `accel_yolo.load`; None takes the first CUDA device, else the CPU.

    Raises:
        ConfigError: another number of channels.
        CheckpointError: the weights cannot be fetched.
    """
    if channels != RGB:
        raise ConfigError("detectors here take three channels", "channels", channels, "leave it out")
    source = find_weights(name) if pretrained else None
    names = {number: f"class{number}" for number in range(classes)}
    if source is None:
        detector = build_detector(model_spec(name), names)
    else:
        weights = load_weights(source)
        same = len(weights.meta.names) == classes
        detector = detector_from_weights(weights, None if same else names)
        source = source if same else None
    detector = detector.to(_device(device))
    if not autoshape:
        return detector
    return HubModel(Predictor(TorchNetwork(detector)), source)


def _device(device: str | torch.device | None) -> torch.device:
    return named_device("" if device is None else str(device))
