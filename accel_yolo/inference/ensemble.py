"""Several networks as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from accel_yolo.errors import ConfigError
from accel_yolo.inference.fusion import Fusion
from accel_yolo.inference.network import Candidates, Network, joined
from accel_yolo.metrics.box_fusion import weighted_box_fusion
from accel_yolo.metrics.nms import NmsOptions


class Ensemble(Network):
    """Networks that look at the same images, their answers put together.

    With "nms" the candidates of all go through one non-maximum suppression, as YOLOv5's ensembles do. With "wbf" each
    network's boxes are suppressed alone, and then those that overlap are averaged (see `weighted_box_fusion`), by the
    same IoU threshold: so several copies of one network answer as that network does, either way.

    Args:
        members: at least two, on one device.
        fusion: "nms" or "wbf".

    Raises:
        ConfigError: their classes differ, or one takes another input size.
    """

    def __init__(self, members: Sequence[Network], fusion: Fusion = "nms") -> None:
        first = members[0]
        for number, member in enumerate(members[1:], start=2):
            if member.names != first.names:
                different = f"file {number} has {_first_difference(first.names, member.names)}"
                remedy = "an ensemble needs the same classes in the same order"
                raise ConfigError("networks of different classes", "--weights", different, remedy)
        sizes = {member.fixed_hw for member in members if member.fixed_hw}
        if len(sizes) > 1:
            remedy = "export them for one --imgsz, or with --dynamic"
            raise ConfigError("exported networks of different input sizes", "--weights", sorted(sizes), remedy)
        self.members, self.fusion = tuple(members), fusion
        self.names, self.device = first.names, first.device
        self.strides = max((member.strides for member in members), key=max)
        self.imgsz = first.imgsz
        self.fixed_hw = next(iter(sizes), None)
        self.parallel = all(member.parallel for member in members)

    def note_limits(self, options: NmsOptions) -> None:
        """Let each member say what it cannot answer."""
        for member in self.members:
            member.note_limits(options)

    def __call__(self, images: Tensor) -> list[Any]:
        """Return the outputs of all members."""
        return [member(images.to(member.input_dtype)) for member in self.members]

    def candidates(self, output: list[Any], conf_thres: float) -> Candidates:
        """Return the candidates of all members, member after member."""
        return joined([m.candidates(part, conf_thres) for m, part in zip(self.members, output, strict=True)])

    def found(
        self, output: list[Any], images: int, options: NmsOptions, given: Candidates | None = None
    ) -> list[Tensor]:
        """Return the objects kept of each image: see `Network.found`."""
        if self.fusion == "nms":
            return super().found(output, images, options, given)
        tables = [m.found(part, images, options, given) for m, part in zip(self.members, output, strict=True)]
        fused = [
            weighted_box_fusion([table[image] for table in tables], options.iou_thres, options.agnostic)
            for image in range(images)
        ]
        # What few networks have seen is trusted less, and may have fallen below the threshold.
        return [rows[rows[:, 4] > options.conf_thres][: options.max_det] for rows in fused]


def _first_difference(first: dict[int, str], other: dict[int, str]) -> str:
    if len(first) != len(other):
        return f"{len(other)} classes instead of {len(first)}"
    number = next(number for number in first if first[number] != other.get(number))
    return f"{other.get(number)!r} as class {number} instead of {first[number]!r}"
