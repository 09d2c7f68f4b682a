"""Objects followed through the frames of a video, by the library trackers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accel_yolo.config.predict_schema import TRACKERS
from accel_yolo.errors import ConfigError
from accel_yolo.inference.results import Detections
from accel_yolo.inference.runtimes.packages import optional

if TYPE_CHECKING:
    from accel_yolo.config.predict_schema import PredictConfig
    from accel_yolo.inference.sources.frames import Frame
    from accel_yolo.inference.sources.items import Item

LEAST_CONFIDENCE = 0.1
"""What ByteTrack (Zhang et al. 2022) still takes to continue a track."""
_CONTINUED_BY_WEAK = ("bytetrack", "botsort")
_CLASSES = dict(zip(TRACKERS, ("ByteTrackTracker", "BoTSORTTracker", "OCSORTTracker", "SORTTracker"), strict=True))


def detection_threshold(kind: str, conf_thres: float) -> float:
    """Return the least confidence of detections that a tracker should be given.

    ByteTrack and BoT-SORT begin tracks with what is above `conf_thres` and continue them with weaker detections too.
    """
    return min(conf_thres, LEAST_CONFIDENCE) if kind in _CONTINUED_BY_WEAK else conf_thres


class Tracker:
    """Gives the same object the same number in all frames of one video.

    Objects are told apart by where they are and how they move, not by how they look; a track has no class, so a class
    that flips from frame to frame does not end it.

    Args:
        kind: "bytetrack", "botsort" (also follows the motion of the camera), "ocsort" or "sort".
        frame_rate: frames per second that will be given; a lost object is looked for for a second.
        conf_thres: detections above this begin tracks, 0..1.

    Raises:
        ConfigError: no such tracker, or a frame rate that is not positive.
        EnvironmentFault: the library is not installed.
    """

    def __init__(self, kind: str = "bytetrack", frame_rate: float = 30.0, conf_thres: float = 0.25) -> None:
        if kind not in TRACKERS:
            raise ConfigError("no such tracker", "--track", kind, f"choose one of {', '.join(TRACKERS)}")
        if not 0 < frame_rate < float("inf"):
            raise ConfigError("wrong frame rate", value=frame_rate, remedy="give frames per second, such as 30")
        self.kind, self.conf_thres = kind, conf_thres
        options = {"frame_rate": float(frame_rate)}
        # The library's own thresholds, 0.6 and 0.7, are those of a detector trained for one benchmark.
        if kind != "ocsort":
            options["track_activation_threshold"] = conf_thres
        if kind != "sort":
            options["high_conf_det_threshold"] = conf_thres
        self._tracker = getattr(_library(), _CLASSES[kind])(**options)

    def update(self, detections: Detections, time_s: float | None = None) -> Detections:
        """Return the detections of the next frame with `track_ids`, in their order.

        Detections that are weaker than `conf_thres` and continue no track are left out.

        Args:
            detections: give those of every frame, also none: so the tracker knows that time passes.
            time_s: when the frame was taken, for frames that do not come at equal distances; seconds, rising.
        """
        from supervision import Detections as Supervised

        given = Supervised(
            xyxy=detections.boxes_xyxy.astype(np.float64),
            confidence=detections.confidences,
            class_id=detections.classes,
            data={"place": np.arange(len(detections))},
        )
        # Only this one looks at the picture; the library wants it as OpenCV has it.
        picture = {"frame": np.ascontiguousarray(detections.image[..., ::-1])} if self.kind == "botsort" else {}
        tracked = self._tracker.update(given, timestamp=time_s, **picture)
        ids = np.full(len(detections), -1, dtype=np.int64)
        if len(tracked):
            numbers = np.asarray(tracked.tracker_id, dtype=np.int64)
            # The library counts from 0.
            ids[tracked.data["place"]] = np.where(numbers < 0, -1, numbers + 1)
        kept = (ids > 0) | (detections.confidences > self.conf_thres)
        return replace(_those(detections, kept), track_ids=ids[kept])


class Tracks:
    """A tracker for each of several videos or streams.

    Args:
        kind, conf_thres: as in `Tracker`.

    Raises:
        EnvironmentFault: the library is not installed.
    """

    def __init__(self, kind: str, conf_thres: float) -> None:
        _library()
        self._kind, self._conf_thres = kind, conf_thres
        self._trackers: dict[int, Tracker] = {}

    def follow(self, frame: Frame, detections: Detections) -> Detections:
        """Return the detections of the next frame of a source with `track_ids`; those of an image have none."""
        item = frame.item
        if item.kind == "image":
            return _those(detections, detections.confidences > self._conf_thres)
        if item.number not in self._trackers:
            if item.kind == "video":  # one after the other: the one before has ended
                self._trackers.clear()
            self._trackers[item.number] = Tracker(self._kind, frame.fps, self._conf_thres)
        # A stream goes on while the network is busy: its frames are numbered, but not all of them arrive here.
        time_s = frame.number / frame.fps if item.kind == "stream" else None
        return self._trackers[item.number].update(detections, time_s)


def asked_tracks(config: PredictConfig, items: Sequence[Item]) -> Tracks | None:
    """Return what follows objects as `--track` asks; None without it.

    Raises:
        ConfigError: there are only images, which are no sequence.
        EnvironmentFault: the library is not installed.
    """
    if not config.track:
        return None
    if all(item.kind == "image" for item in items):
        remedy = "images are no sequence: give a video or a stream, or leave --track out"
        raise ConfigError("nothing to follow objects through", "--source", config.source, remedy)
    return Tracks(config.track, config.conf_thres)


def _those(detections: Detections, kept: NDArray[np.bool_]) -> Detections:
    boxes, confidences, classes = detections.boxes_xyxy, detections.confidences, detections.classes
    return replace(detections, boxes_xyxy=boxes[kept], confidences=confidences[kept], classes=classes[kept])


def _library() -> Any:
    return optional("trackers", "tracking", "track")
