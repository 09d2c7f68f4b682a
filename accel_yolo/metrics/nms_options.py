"""What non-maximum suppression keeps; without torch, because an exported model is run without it."""

from __future__ import annotations

from dataclasses import dataclass

from accel_yolo.errors import ConfigError

MAX_CANDIDATES = 30_000
"""The most confident candidates of one image that are considered at all."""
FIRST_CANDIDATES_PER_KEPT = 8
"""How many of them, for each box that may be kept, are considered at first."""


@dataclass(frozen=True)
class NmsOptions:
    """What is kept.

    Attributes:
        conf_thres: candidates must be more confident than this, 0..1.
        iou_thres: a box that overlaps a more confident one of its class by more than this goes, 0..1.
        classes: only these classes; None keeps all.
        agnostic: boxes of different classes suppress each other too.
        multi_label: one box may be kept once for each of its classes (with a single class: no effect).
        max_det: at most this many boxes per image.

    Raises:
        ConfigError: a threshold outside 0..1, or `max_det` below 1.
    """

    conf_thres: float = 0.25
    iou_thres: float = 0.45
    classes: tuple[int, ...] | None = None
    agnostic: bool = False
    multi_label: bool = False
    max_det: int = 300

    def __post_init__(self) -> None:
        for name, value in (("conf_thres", self.conf_thres), ("iou_thres", self.iou_thres)):
            if not 0 <= value <= 1:
                raise ConfigError("threshold out of range", name, value, "choose a value from 0 to 1")
        if self.max_det < 1:
            raise ConfigError("no detections could be kept", "max_det", self.max_det, "choose 1 or more")
