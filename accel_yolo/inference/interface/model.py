"""The Python interface: load a detector, call it with images; torch is imported only where torch runs it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from accel_yolo.errors import ConfigError, did_you_mean
from accel_yolo.inference.interface.image_input import (
    ImageLike,
    is_network_input,
    listed,
    named_images,
    path_of,
    to_rgb,
)
from accel_yolo.inference.interface.shareable import Shareable
from accel_yolo.inference.interface.torch_access import TorchAccess
from accel_yolo.inference.picture_detector import Picture, PictureDetector, PredictOptions, size_hw
from accel_yolo.inference.results import Detections
from accel_yolo.inference.sources.batches import detections_of
from accel_yolo.inference.sources.named import distinct_stems, find_items
from accel_yolo.inference.tiles.tiling import Tiling
from accel_yolo.metrics.nms_options import NmsOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

BATCH_SIZE, OVERLAP = 16, 0.2


class Options(TypedDict, total=False):
    """What a call may say beside the images; what it leaves out are the attributes of the model.

    Attributes:
        conf: least confidence, 0..1.
        iou: boxes of one class that overlap more than this are merged into the most confident, 0..1.
        classes: only these, by number or name, at least one; None is all.
        agnostic: merge across classes.
        multi_label: an object may be found once for each class it may be.
        max_det: at most this many objects per image.
        batch_size: images that go through the network together.
        tile: look at tiles of so many px of a side, and at the whole image, for small objects in large images.
        overlap: of neighbouring tiles, as a share of their side.
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


class Model(TorchAccess, Shareable):
    """A loaded detector: call it with images.

    >>> model = accel_yolo.load("best.pt", device="cpu")
    >>> model.conf = 0.6
    >>> [len(found) for found in model(["photo.jpg", "photos/b.jpg"])]
    [3, 1]
    >>> model("photo.jpg", classes="bicycle", conf=0.2).summary()
    '1 bicycle'

    Attributes:
        conf, iou, classes, agnostic, multi_label, max_det, batch_size, imgsz: what a call does when it does not say:
            see `__call__`. They may be set.
        source: the weights file; None for several.
    """

    def __init__(self, predictor: PictureDetector, source: Path | None = None) -> None:
        super().__init__(predictor, source)
        self.conf, self.iou, self.max_det = 0.25, 0.45, 1000
        self.classes: int | str | Sequence[int | str] | None = None
        self.agnostic = self.multi_label = False
        self.batch_size = BATCH_SIZE
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

    def __call__(
        self,
        images: ImageLike | Sequence[ImageLike],
        imgsz: int | tuple[int, int] | None = None,
        **options: Unpack[Options],
    ) -> Any:
        """Return the objects found: one `Detections` for one image, a list for several.

        Args:
            images: one image: the path or URL of an image file, a PIL image, or an array or tensor uint8 [H, W, 3] or
                [3, H, W] in **RGB** order (OpenCV's are BGR: pass `image[..., ::-1]`); or several: a list or tuple of
                those, or a text that names a folder, a glob pattern or a `.txt` list. A float tensor [B, 3, H, W] is
                given to the network as it is, and what the network says is returned: see `predictions`.
            imgsz: longest side of the network input in px, or (height, width).
            options: conf, iou, classes, agnostic, multi_label, max_det, batch_size: see `Options`.

        Raises:
            DataError: an image is missing, damaged, or not of such a shape or type. Of the images of a folder, a
                pattern or a list, those that cannot be read are skipped with a warning, unless that is all.
            ConfigError: an unknown option, a threshold or size out of range, or a source that is no image.
        """
        if is_network_input(images):
            return self.predictions(images)  # pyright: ignore[reportArgumentType]
        wanted, batch_size = self._options(imgsz, options)
        if isinstance(images, str | Path):
            named = named_images(images)
            if len(named) > 1 or named[0].word not in (str(images), str(Path(images))):
                return [*detections_of(named, str(images), self.predictor, wanted, batch_size)]
        single, items = listed(images)
        found = [*self._detected(items, wanted, batch_size)]
        return found[0] if single else found

    def stream(
        self,
        source: ImageLike | Sequence[ImageLike],
        imgsz: int | tuple[int, int] | None = None,
        vid_stride: int = 1,
        **options: Unpack[Options],
    ) -> Iterator[Detections]:
        """Yield the objects found picture by picture; only a few pictures are held at a time.

        Args:
            source: what `__call__` takes, or a text that names a video, a camera ("0"), a stream ("rtsp://..."), a
                `.streams` list, or a folder with videos. Of a video every frame is looked at, of streams the newest;
                streams end when the loop is left.
            imgsz: see `__call__`.
            vid_stride: of the frames of a video or stream, every so many.
            options: see `__call__`.

        Raises:
            DataError: the source does not exist, or nothing of it can be read. What is unreadable among others is
                skipped with a warning.
            ConfigError: see `__call__`.
        """
        if vid_stride < 1:
            raise ConfigError("no frame would be looked at", "vid_stride", vid_stride, "choose 1 or more")
        wanted, batch_size = self._options(imgsz, options)
        if isinstance(source, str | Path):
            return detections_of(find_items(str(source)), str(source), self.predictor, wanted, batch_size, vid_stride)
        return self._detected(listed(source)[1], wanted, batch_size)

    def _options(self, imgsz: int | tuple[int, int] | None, options: Options) -> tuple[PredictOptions, int]:
        """Return what is asked for and the batch size; the attributes say what the call does not."""
        for name in options:
            if name not in Options.__annotations__:
                known = ("imgsz", *Options.__annotations__)
                remedy = did_you_mean(name, known) or f"known are {', '.join(known)}"
                raise ConfigError("no such option", "the call", name, remedy)
        said: dict[str, Any] = {**{name: getattr(self, name) for name in _DEFAULTED}, **options}
        for name, kind in _NUMBERS.items():
            if not isinstance(said[name], kind):
                what = "a whole number" if kind is Integral else "a number"
                raise ConfigError("wrong value", f"the call, {name}", repr(said[name]), f"give {what}")
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
        tile = said.get("tile")
        tiling = None if tile is None else Tiling(tile, said.get("overlap", OVERLAP), batch=said["batch_size"])
        wanted = PredictOptions(_input_hw(side), nms, tiling)
        self.predictor.check(wanted)
        return wanted, said["batch_size"]

    def _class_numbers(self, classes: int | str | Sequence[int | str] | None) -> tuple[int, ...] | None:
        if classes is None:
            return None
        numbers = {name: number for number, name in self.names.items()}
        chosen: list[int] = []
        listed_classes = (classes,) if isinstance(classes, int | str | Integral) else classes
        if not len(listed_classes):
            raise ConfigError("nothing could be found", "classes", "[]", "name some, or give None for all")
        for one in listed_classes:
            if isinstance(one, str) and one not in numbers:
                remedy = did_you_mean(one, numbers) or f"this detector has {len(numbers)} classes, see model.names"
                raise ConfigError("no such class", "classes", one, remedy)
            chosen.append(numbers[one] if isinstance(one, str) else int(one))
        return tuple(chosen)

    def _detected(self, items: Sequence[ImageLike], options: PredictOptions, batch_size: int) -> Iterator[Detections]:
        stems = distinct_stems(path_of(item, number) for number, item in enumerate(items))
        named = zip(items, stems, strict=True)
        while batch := [*itertools.islice(named, batch_size)]:
            yield from self.predictor.detect([_picture(item, stem) for item, stem in batch], options)


def _input_hw(imgsz: int | tuple[int, ...]) -> tuple[int, int]:
    sides = tuple(imgsz) if isinstance(imgsz, list | tuple) else (imgsz,)
    if not all(isinstance(side, Integral) for side in sides):
        raise ConfigError("not an image size", "imgsz", imgsz, "give a whole number of pixels, or (height, width)")
    return size_hw(tuple(map(int, sides)))


_DEFAULTED = ("conf", "iou", "classes", "agnostic", "multi_label", "max_det", "batch_size")
_NUMBERS = {"conf": Real, "iou": Real, "max_det": Integral, "batch_size": Integral}
_ATTRIBUTES = (*_DEFAULTED, "imgsz", "predictor", "source")


def _picture(item: ImageLike, stem: str) -> Picture:
    return Picture(to_rgb(item), str(item) if isinstance(item, str | Path) else "", stem)
