"""The Python interface: load a detector, call it with images; torch is imported only where torch runs it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from accel_yolo.errors import ConfigError, did_you_mean
from accel_yolo.inference.image_input import ImageLike, is_network_input, listed, path_of, to_rgb
from accel_yolo.inference.picture_detector import Picture, PictureDetector, PredictOptions, size_hw
from accel_yolo.inference.results import Detections
from accel_yolo.inference.sources import distinct_stems
from accel_yolo.inference.tiling import Tiling
from accel_yolo.metrics.nms_options import NmsOptions

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from typing_extensions import Self, Unpack

    from accel_yolo.inference.network import TorchNetwork
    from accel_yolo.models.detector import Detector

BATCH_SIZE = 16
_NO_MODULE = "load a single .pt or .safetensors file, without augment"


class Options(TypedDict, total=False):
    """What a call may say beside the images; what it leaves out are the attributes of the model.

    Attributes:
        conf: least confidence, 0..1.
        iou: boxes of one class that overlap more than this are merged into the most confident, 0..1.
        classes: only these, by number or name; None is all.
        agnostic: merge across classes.
        multi_label: an object may be found once for each class it may be.
        max_det: at most this many objects per image.
        batch_size: images that go through the network together.
        tile: side of the tiles that larger images are cut into, px, see `Tiling`; None looks at whole images.
        overlap: least share of a tile that its neighbours show too.
        size: the same as `imgsz`.
    """

    conf: float
    iou: float
    classes: int | str | Sequence[int | str] | None
    agnostic: bool
    multi_label: bool
    max_det: int
    batch_size: int
    tile: int | None
    overlap: float
    size: int | tuple[int, int]


class Model:
    """A loaded detector: call it with images.

    Attributes:
        conf, iou, classes, agnostic, multi_label, max_det, batch_size, tile, overlap, imgsz: what a call does when it
            does not say: see `__call__`. They may be set.
        source: the weights file; None for several.
    """

    def __init__(self, predictor: PictureDetector, source: Path | None = None) -> None:
        self.predictor, self.source = predictor, source
        self.conf, self.iou, self.max_det = 0.25, 0.45, 1000
        self.classes: int | str | Sequence[int | str] | None = None
        self.agnostic = self.multi_label = False
        self.batch_size = BATCH_SIZE
        self.tile: int | None = None
        self.overlap = 0.2
        self.imgsz: int | tuple[int, int] = 640

    def __setattr__(self, name: str, value: object) -> None:
        # A misspelt threshold would otherwise be accepted and have no effect.
        if name not in _ATTRIBUTES and not hasattr(type(self), name):
            raise AttributeError(f"no attribute '{name}'; {did_you_mean(name, _ATTRIBUTES) or 'see the documentation'}")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        kind = type(self.predictor).__name__
        return f"{type(self).__name__}({len(self.names)} classes, {kind}, {self.source or 'several files'})"

    @property
    def names(self) -> dict[int, str]:
        """Class number -> name."""
        return self.predictor.names

    @property
    def stride(self) -> int:
        """Input sizes are multiples of this, px."""
        return self.predictor.stride

    def __call__(
        self,
        images: ImageLike | Sequence[ImageLike],
        imgsz: int | tuple[int, int] | None = None,
        **options: Unpack[Options],
    ) -> Any:
        """Return the objects found: one `Detections` for one image, a list for several.

        Args:
            images: one image: the path of an image file, a PIL image, or an array or tensor uint8 [H, W, 3] or
                [3, H, W] in **RGB** order (OpenCV's are BGR: pass `image[..., ::-1]`); or several: a list or tuple of
                those, or a text that names a folder, a glob pattern or a `.txt` list. A float tensor [B, 3, H, W] is
                given to the network as it is, and what the network says is returned: see `predictions`.
            imgsz: longest side of the network input in px, or (height, width).
            options: conf, iou, classes, agnostic, multi_label, max_det, batch_size, tile, overlap: see `Options`.

        Raises:
            DataError: an image is missing, damaged, or not of such a shape or type.
            ConfigError: an unknown option, a threshold or size out of range, or a source that is no image.
        """
        if is_network_input(images):
            return self.predictions(images)  # pyright: ignore[reportArgumentType]
        wanted, batch_size = self._options(imgsz, options)
        single, items = listed(images)
        found = [*self._detected(items, wanted, batch_size)]
        return found[0] if single else found

    def stream(
        self,
        images: ImageLike | Sequence[ImageLike],
        imgsz: int | tuple[int, int] | None = None,
        **options: Unpack[Options],
    ) -> Iterator[Detections]:
        """Yield the objects found image by image, reading only `batch_size` images ahead: see `__call__`."""
        wanted, batch_size = self._options(imgsz, options)
        return self._detected(listed(images)[1], wanted, batch_size)

    def predictions(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return what the network says about a batch, without any processing before or after.

        Args:
            images: [B, 3, H, W] float, RGB in 0..1, H and W multiples of `stride`.

        Returns:
            decoded: [B, N, 5 + C]: cx, cy, w, h in px of `images`, objectness and class probabilities.
            raw: outputs of the head, one [B, A, H, W, 5 + C] for each level.

        Raises:
            ConfigError: another runtime than torch runs this model, or sides that do not fit.
        """
        import torch

        network = self._torch_network
        if images.shape[1] != 3 or any(side % self.stride for side in images.shape[2:]):
            remedy = f"pass [B, 3, H, W] with sides that are multiples of {self.stride}"
            raise ConfigError("not an input of this network", "images", list(images.shape), remedy)
        with torch.no_grad():
            raw = network(images.to(network.device, network.input_dtype))
            return network.detector.decode(raw), raw

    @property
    def detector(self) -> Detector:
        """The detector itself, a `torch.nn.Module`, fused.

        Raises:
            ConfigError: another runtime than torch runs it, or it is several.
        """
        return self._torch_network.detector

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._torch_network.device

    def to(self, device: str | torch.device) -> Self:
        """Return self after moving the network to a device.

        Raises:
            ConfigError, EnvironmentFault: no such device, or the network cannot be moved.
        """
        from accel_yolo.devices import named_device
        from accel_yolo.inference.network import TorchNetwork
        from accel_yolo.inference.predictor import Predictor

        network = self._torch_network
        place = named_device(str(device))
        if place != network.device:
            self.predictor = Predictor(TorchNetwork(network.detector.to(place), imgsz=network.imgsz))
        return self

    def cpu(self) -> Self:
        """Return self after moving the network to the CPU."""
        return self.to("cpu")

    def cuda(self, device: int | None = None) -> Self:
        """Return self after moving the network to a GPU."""
        return self.to(f"cuda:{device or 0}")

    def eval(self) -> Self:
        """Return self: it always predicts."""
        return self

    @property
    def amp(self) -> bool:
        """Whether the network runs in half precision; on a CPU setting it has no effect, as in YOLOv5."""
        return self._torch_network.dtype is not None

    @amp.setter
    def amp(self, wanted: bool) -> None:
        from accel_yolo.devices import autocast_dtype

        network = self._torch_network
        if network.device.type != "cpu":
            network.dtype = autocast_dtype("fp16" if wanted else "fp32", network.device)

    @property
    def _torch_network(self) -> TorchNetwork:
        network = getattr(self.predictor, "network", None)
        if network is not None:
            from accel_yolo.inference.network import TorchNetwork

            if isinstance(network, TorchNetwork):
                return network
        raise ConfigError("not a single torch module", "this model", remedy=_NO_MODULE)

    def _options(self, imgsz: int | tuple[int, int] | None, options: Options) -> tuple[PredictOptions, int]:
        """Return what is asked for and the batch size; the attributes say what the call does not."""
        for name in options:
            if name not in Options.__annotations__:
                known = ("imgsz", *Options.__annotations__)
                remedy = did_you_mean(name, known) or f"known are {', '.join(known)}"
                raise ConfigError("no such option", "the call", name, remedy)
        said: dict[str, Any] = {**{name: getattr(self, name) for name in _DEFAULTED}, **options}
        if said["batch_size"] < 1:
            raise ConfigError("no images could go together", "batch_size", said["batch_size"], "choose 1 or more")
        side = said.get("size", self.imgsz) if imgsz is None else imgsz
        nms = NmsOptions(
            said["conf"],
            said["iou"],
            self._class_numbers(said["classes"]),
            said["agnostic"],
            said["multi_label"],
            said["max_det"],
        )
        tiling = None if said["tile"] is None else Tiling(said["tile"], said["overlap"], batch=said["batch_size"])
        wanted = PredictOptions(_input_hw(side), nms, tiling)
        self.predictor.check(wanted)
        return wanted, said["batch_size"]

    def _class_numbers(self, classes: int | str | Sequence[int | str] | None) -> tuple[int, ...] | None:
        if classes is None:
            return None
        numbers = {name: number for number, name in self.names.items()}
        chosen: list[int] = []
        for one in (classes,) if isinstance(classes, int | str) else classes:
            if isinstance(one, str) and one not in numbers:
                remedy = did_you_mean(one, numbers) or f"this detector has {len(numbers)} classes, see model.names"
                raise ConfigError("no such class", "classes", one, remedy)
            chosen.append(numbers[one] if isinstance(one, str) else int(one))
        return tuple(chosen) or None

    def _detected(self, items: Sequence[ImageLike], options: PredictOptions, batch_size: int) -> Iterator[Detections]:
        stems = distinct_stems(path_of(item, number) for number, item in enumerate(items))
        named = zip(items, stems, strict=True)
        while batch := [*itertools.islice(named, batch_size)]:
            yield from self.predictor.detect([_picture(item, stem) for item, stem in batch], options)


def _input_hw(imgsz: int | tuple[int, ...]) -> tuple[int, int]:
    sides = tuple(imgsz) if isinstance(imgsz, list | tuple) else (imgsz,)
    if not all(isinstance(side, int) for side in sides):
        raise ConfigError("not an image size", "imgsz", imgsz, "give a whole number of pixels, or (height, width)")
    return size_hw(sides)


_DEFAULTED = ("conf", "iou", "classes", "agnostic", "multi_label", "max_det", "batch_size", "tile", "overlap")
_ATTRIBUTES = (*_DEFAULTED, "imgsz", "predictor", "source")


def _picture(item: ImageLike, stem: str) -> Picture:
    return Picture(to_rgb(item), str(item) if isinstance(item, str | Path) else "", stem)
