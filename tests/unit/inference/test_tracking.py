"""Objects keep their numbers through a video, with the real library."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from accel_yolo.config.predict_schema import TRACKERS, PredictConfig
from accel_yolo.errors import ConfigError, EnvironmentFault
from accel_yolo.inference.predictor import Picture
from accel_yolo.inference.results import Detections
from accel_yolo.inference.sources.frames import Frame
from accel_yolo.inference.sources.items import Item
from accel_yolo.inference.sources.urls import Kind
from accel_yolo.inference.tracking import Tracker, Tracks, asked_tracks, detection_threshold

HW = (480, 640)
BACKGROUND = np.random.default_rng(0).integers(0, 255, (*HW, 3), dtype=np.uint8)
Rows = dict[str, tuple[float, float, float]]
"""Object -> centre x, centre y, confidence; all are 60 x 120 px."""


def detections(rows: Rows) -> Detections:
    centres = np.array([row[:2] for row in rows.values()], np.float32).reshape(-1, 2)
    boxes = np.concatenate((centres - (30, 60), centres + (30, 60)), axis=1).astype(np.float32)
    confidences = np.array([row[2] for row in rows.values()], np.float32)
    return Detections(boxes, confidences, np.zeros(len(rows), np.int64), {0: "person"}, BACKGROUND)


def crossing(frames: int = 60) -> Iterator[Rows]:
    """a and b walk towards and past each other on nearby paths, c stands still; b is hidden around the meeting, and for
    two frames nothing at all is found."""
    for frame in range(frames):
        rows: Rows = {
            "a": (60 + 8 * frame, 160, 0.8),
            "b": (580 - 8 * frame, 260, 0.7),
            "c": (320, 400, 0.6),
        }
        if 27 <= frame <= 36:
            del rows["b"]
        names = list(rows)[frame % len(rows) :] + list(rows)[: frame % len(rows)]  # detectors list them in any order
        yield {} if frame in (12, 13) else {name: rows[name] for name in names}


def numbers(tracker: Tracker, video: Iterator[Rows]) -> dict[str, list[int]]:
    """The numbers that each object had, over all frames in which it was found."""
    seen: dict[str, list[int]] = {}
    for rows in video:
        found = tracker.update(detections(rows))
        assert found.track_ids is not None and len(found.track_ids) == len(found) == len(rows)
        np.testing.assert_array_equal(found.boxes_xyxy, detections(rows).boxes_xyxy)
        for name, number in zip(rows, found.track_ids.tolist(), strict=True):
            seen.setdefault(name, []).append(number)
    return seen


@pytest.mark.parametrize("kind", TRACKERS)
def test_objects_that_cross_or_are_hidden_for_a_while_keep_their_numbers(kind: str) -> None:
    seen = numbers(Tracker(kind), crossing())
    final = {name: row[-1] for name, row in seen.items()}
    assert sorted(final.values()) == [1, 2, 3]
    for name, row in seen.items():
        assert set(row) <= {-1, final[name]}, (kind, name, row)
        # Without a number only while a track begins, or begins again after nothing was found.
        assert row.count(-1) <= 6, (kind, name, row)


@pytest.mark.parametrize("kind", ["bytetrack", "botsort"])
def test_a_track_goes_on_where_the_object_is_hardly_seen_and_none_begins_there(kind: str) -> None:
    tracker = Tracker(kind, conf_thres=0.5)
    kept = []
    for frame in range(20):
        confidence = 0.2 if 8 <= frame < 14 else 0.9
        found = tracker.update(detections({"a": (100 + 4 * frame, 200, confidence), "ghost": (500, 200, 0.2)}))
        kept.append([] if found.track_ids is None else found.track_ids.tolist())
    assert kept[2:] == [[1]] * 18
    assert detection_threshold(kind, 0.5) == 0.1


@pytest.mark.parametrize("kind", ["ocsort", "sort"])
def test_the_others_are_given_what_is_above_the_threshold_only(kind: str) -> None:
    assert detection_threshold(kind, 0.5) == 0.5
    assert detection_threshold("bytetrack", 0.01) == 0.01


def frame(item: Item, number: int, fps: float = 30.0) -> Frame:
    return Frame(Picture(BACKGROUND), item, number, fps)


def test_each_stream_counts_for_itself_and_each_video_from_one() -> None:
    tracks = Tracks("bytetrack", 0.25)
    streams, videos = ([Item(f"{kind}{n}", kind, number=n, of=2) for n in (1, 2)] for kind in ("stream", "video"))
    for number in range(1, 6):
        first = tracks.follow(frame(streams[0], number), detections({"a": (100 + number, 200, 0.9)}))
        rows = {"b": (400, 200 + number, 0.9), "c": (100, 200, 0.8)}
        second = tracks.follow(frame(streams[1], number), detections(rows))
    assert ids(first) == [1] and sorted(ids(second)) == [1, 2]
    tracks = Tracks("bytetrack", 0.25)
    for video in videos:
        for number in range(1, 4):
            found = tracks.follow(frame(video, number), detections({"a": (100, 200, 0.9)}))
        assert ids(found) == [1]


def ids(found: Detections) -> list[int]:
    assert found.track_ids is not None
    return found.track_ids.tolist()


def test_frames_of_a_stream_that_nobody_had_time_for_count_as_time() -> None:
    """The object moves 12 px a frame; where six frames at a time pass unseen, it has left the box it was last in."""
    tracks = Tracks("sort", 0.25)
    item = Item("rtsp://camera", "stream")
    seen = [
        ids(tracks.follow(frame(item, number), detections({"a": (40.0 + 12 * number, 200, 0.9)})))
        for number in (*range(1, 20), *range(25, 50, 6))
    ]
    assert seen[4:] == [[1]] * (len(seen) - 4)


def test_images_among_videos_are_not_followed_and_keep_to_the_threshold() -> None:
    tracks = Tracks("bytetrack", 0.25)
    found = tracks.follow(
        Frame(Picture(BACKGROUND), Item("a.jpg", "image")), detections({"a": (100, 200, 0.9), "b": (300, 200, 0.2)})
    )
    assert found.track_ids is None
    assert found.confidences.tolist() == pytest.approx([0.9])


@pytest.mark.parametrize(("kinds", "followed"), [(("image", "video"), True), (("stream",), True), (("image",), False)])
def test_images_alone_are_no_sequence(kinds: tuple[Kind, ...], followed: bool) -> None:
    config = PredictConfig(source="photos", track="sort")
    items = [Item(f"{kind}.x", kind) for kind in kinds]
    assert asked_tracks(PredictConfig(source="photos"), items) is None
    if followed:
        assert asked_tracks(config, items) is not None
    else:
        with pytest.raises(ConfigError, match="nothing to follow objects through in --source: photos; images are no"):
            asked_tracks(config, items)


def test_an_object_gone_for_longer_than_a_second_is_a_new_one_at_any_frame_rate() -> None:
    for fps, gap, number in ((10.0, 8, 1), (10.0, 12, 2), (50.0, 45, 1), (50.0, 55, 2)):
        tracker = Tracker("bytetrack", fps)
        for frame in range(10 + gap + 5):
            found = tracker.update(detections({} if 10 <= frame < 10 + gap else {"a": (100, 200, 0.9)}))
        assert found.track_ids is not None and found.track_ids.tolist() == [number], (fps, gap)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("bytetrak",), "no such tracker in --track: bytetrak"), (("sort", 0.0), "wrong frame rate: 0.0")],
)
def test_what_cannot_be_a_tracker_is_an_error(arguments: tuple, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Tracker(*arguments)


def test_a_missing_library_is_one_line_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(
        EnvironmentFault, match=r"tracking needs a package that is missing: trackers; pip install 'accel-yolo\["
    ):
        Tracker()


def test_the_library_is_loaded_only_when_objects_are_followed() -> None:
    code = (
        "import sys, accel_yolo.inference.tracking; sys.exit('trackers' in sys.modules or 'supervision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
