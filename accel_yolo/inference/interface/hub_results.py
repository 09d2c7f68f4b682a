"""What a model from `torch.hub` returns: the detections of one call, with the methods and lists that its users know."""

# n objects of an image

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from accel_yolo import console
from accel_yolo.files import next_run_folder
from accel_yolo.inference.output.crops import save_crops
from accel_yolo.inference.output.drawing import DrawOptions
from accel_yolo.inference.output.showing import show_image
from accel_yolo.inference.results import Detections
from accel_yolo.inference.runtimes.packages import optional

if TYPE_CHECKING:
    import pandas

_CORNERS, _CENTRE = ("xmin", "ymin", "xmax", "ymax"), ("xcenter", "ycenter", "width", "height")
_REST = ("confidence", "class", "name")
_FORMS = ("xyxy", "xywh", "xyxyn", "xywhn")


class Results(Sequence[Detections]):
    """The detections of several images; as a sequence it holds one `Detections` for each.

    Attributes:
        ims: the images, uint8 [H, W, 3] RGB; `render` draws on them.
        files: a file name for each image.
        names: class number -> name.
        n: number of images.
        t: milliseconds per image: preparation, network, non-maximum suppression.
        times: the same in seconds for all images together.
        s: shape of the input that the last image had in the network, (1, 3, H, W).
    """

    def __init__(self, found: Sequence[Detections], names: dict[int, str]) -> None:
        self._found = [*found]
        self.names, self.n = names, len(self._found)
        self.ims = [one.image for one in self._found]
        self.files = [Path(one.path).name or f"{one.stem}.jpg" for one in self._found]
        speeds = [(one.speed.prepare_ms, one.speed.network_ms, one.speed.nms_ms) for one in self._found]
        self.times = tuple(sum(stage) / 1e3 for stage in zip(*speeds, strict=True)) or (0.0, 0.0, 0.0)
        self.t = tuple(seconds * 1e3 / max(self.n, 1) for seconds in self.times)
        self.s = (1, 3, *(self._found[-1].input_hw if self._found else (0, 0)))

    def __getitem__(self, place: Any) -> Any:
        return self._found[place]

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[Detections]:
        return iter(self._found)

    @property
    def xyxy(self) -> list[Tensor]:
        """One tensor [n, 6] per image: x1, y1, x2, y2 in px of the image, confidence, class."""
        return [torch.from_numpy(found.xyxy) for found in self]

    pred = xyxy

    @property
    def xywh(self) -> list[Tensor]:
        """One tensor [n, 6] per image: centre x, centre y, width, height in px, confidence, class."""
        return [torch.from_numpy(found.xywh) for found in self]

    @property
    def xyxyn(self) -> list[Tensor]:
        """As `xyxy`, in fractions of width and height."""
        return [torch.from_numpy(found.xyxyn) for found in self]

    @property
    def xywhn(self) -> list[Tensor]:
        """As `xywh`, in fractions of width and height."""
        return [torch.from_numpy(found.xywhn) for found in self]

    def __str__(self) -> str:
        lines = [
            f"image {place}/{self.n}: {found.orig_hw[0]}x{found.orig_hw[1]} {found.summary()}"
            for place, found in enumerate(self, start=1)
        ]
        stages = "{:.1f} ms prepare, {:.1f} ms network, {:.1f} ms nms".format(*self.t)
        return "\n".join([*lines, f"Speed per image: {stages}, at shape {self.s}"])

    def __repr__(self) -> str:
        return f"<Results of {self.n} image{'' if self.n == 1 else 's'}>\n{self}"

    def print(self) -> None:
        """Print what was found in each image, and the speed."""
        console.say(str(self))

    def render(self, labels: bool = True) -> list[NDArray[np.uint8]]:
        """Return the images with boxes (and labels) drawn on them; they take the place of those in `ims`."""
        self.ims = [found.plot(DrawOptions(labels=labels)) for found in self]
        return self.ims

    def show(self, labels: bool = True) -> None:
        """Open each image with its boxes; where there is no display one line says so."""
        for found in self:
            if not show_image(found.plot(DrawOptions(labels=labels))):
                return

    def save(self, labels: bool = True, save_dir: str | Path = "runs/detect/exp", exist_ok: bool = False) -> None:
        """Write each image with its boxes into a folder; a number is added to its name where it exists."""
        folder = _folder(save_dir, exist_ok)
        for found in self:
            found.save(folder, DrawOptions(labels=labels))
        console.say(f"Saved {self.n} image{'' if self.n == 1 else 's'} to {folder}")

    def crop(
        self, save: bool = True, save_dir: str | Path = "runs/detect/exp", exist_ok: bool = False
    ) -> list[dict[str, Any]]:
        """Return the objects cut out of their images, and write them into `<save_dir>/crops/<class>/`.

        Each is a dict: box (x1, y1, x2, y2 as a tensor), conf, cls, label ("person 0.87"), im uint8 [h, w, 3] RGB.
        """
        folder = _folder(save_dir, exist_ok) if save else None
        cut = []
        for found in self:
            if folder is not None:
                save_crops(found, folder / "crops")
            for one, image in zip(found, found.crops(), strict=True):
                label = f"{one.name} {one.confidence:.2f}"
                box = torch.tensor(one.box_xyxy)
                cut.append({"box": box, "conf": one.confidence, "cls": one.class_id, "label": label, "im": image})
        if folder is not None:
            console.say(f"Saved {len(cut)} crop{'' if len(cut) == 1 else 's'} to {folder / 'crops'}")
        return cut

    def tolist(self) -> list[Results]:
        """Return one `Results` for each image."""
        return [Results([found], self.names) for found in self]

    def pandas(self) -> Frames:
        """Return the four lists as tables of pandas: `results.pandas().xyxy[0]`.

        Raises:
            EnvironmentFault: pandas is not installed.
        """
        library = optional("pandas", "pandas()", None)
        frames = []
        for form in _FORMS:
            columns = [*(_CORNERS if form.startswith("xyxy") else _CENTRE), *_REST]
            frames.append([library.DataFrame(_rows(found, form), columns=columns) for found in self])
        return Frames(*frames)


@dataclass(frozen=True)
class Frames:
    """One table of pandas per image in each form: four coordinates, confidence, class and name."""

    xyxy: list[pandas.DataFrame]
    xywh: list[pandas.DataFrame]
    xyxyn: list[pandas.DataFrame]
    xywhn: list[pandas.DataFrame]


def _rows(found: Detections, form: str) -> list[list[Any]]:
    return [
        [*box, score, int(label), found.name_of(int(label))] for *box, score, label in getattr(found, form).tolist()
    ]


def _folder(save_dir: str | Path, exist_ok: bool) -> Path:
    place = Path(save_dir)
    return next_run_folder(place.parent, place.name, exist_ok)
