"""What the flags of the predict command ask of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from accel_yolo import console
from accel_yolo.config.data_union import chosen_classes
from accel_yolo.inference.picture_detector import PredictOptions, size_hw
from accel_yolo.inference.tiles.tiling import TILES_AT_ONCE, Tiling
from accel_yolo.inference.tracking import detection_threshold
from accel_yolo.metrics.nms_options import NmsOptions

if TYPE_CHECKING:
    from accel_yolo.config.predict_schema import PredictConfig


def asked_options(config: PredictConfig, names: Mapping[int, str]) -> PredictOptions:
    """Return size, thresholds, classes and tiles.

    Args:
        config: the flags.
        names: the classes that the network knows, by number.

    Raises:
        ConfigError: a class that the network does not know.
    """
    classes = chosen_classes(names, config.classes) or None
    conf_thres = detection_threshold(config.track, config.conf_thres) if config.track else config.conf_thres
    nms = NmsOptions(conf_thres, config.iou_thres, classes, config.agnostic_nms, max_det=config.max_det)
    return PredictOptions(size_hw(config.imgsz), nms, _tiling(config))


def _tiling(config: PredictConfig) -> Tiling | None:
    if config.tile is None:
        return None
    if config.tile != max(config.imgsz):
        what = "shrunk" if config.tile > max(config.imgsz) else "enlarged"
        console.note(
            f"tiles of {config.tile} px are {what} to {max(config.imgsz)} px; --imgsz {config.tile} keeps their pixels"
        )
    return Tiling(config.tile, config.overlap, not config.tiles_only, max(config.batch, TILES_AT_ONCE))
