"""Real objects that move through a video: found by the real network, followed by the real library."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import Commands

from accel_yolo.data.images import read_image

HW, FRAMES = (360, 640), 70
HEIGHT_PX = 130
SPRITES = {"near": ("000000000034", 0), "far": ("000000000154", 0), "person": ("000000000474", 0)}
"""Two zebras and a person: photograph, and which of its labels."""
HIDDEN, LORRY_BOTTOM = range(30, 38), 140
"""In these frames a lorry passes before the person."""


def left_top(name: str, frame: int) -> tuple[int, int]:
    """Where an object is: the zebras meet in the middle, one half behind the other."""
    return {"near": (10 + 7 * frame, 225), "far": (480 - 6 * frame, 160), "person": (30 + 7 * frame, 5)}[name]


@pytest.fixture(scope="module")
def video(reference_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    sprites = {name: sprite(reference_dir, *where) for name, where in SPRITES.items()}
    path = tmp_path_factory.mktemp("video") / "street.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25, HW[::-1])
    ground = np.repeat(np.linspace(200, 120, HW[0])[:, None, None], HW[1], axis=1).repeat(3, axis=2).astype(np.uint8)
    for frame in range(FRAMES):
        canvas = ground.copy()
        for name in ("far", "near", "person"):
            paste(canvas, sprites[name], left_top(name, frame))
        if frame in HIDDEN:
            canvas[:LORRY_BOTTOM] = (90, 110, 120)
        writer.write(canvas[..., ::-1])
    writer.release()
    return path


def sprite(reference_dir: Path, stem: str, label: int) -> np.ndarray:
    folder = reference_dir / "data" / "coco128"
    image = read_image(str(folder / "images" / f"{stem}.jpg"))
    _, cx, cy, width, tall = np.loadtxt(folder / "labels" / f"{stem}.txt", ndmin=2)[label]
    (y1, y2), (x1, x2) = (
        (int((centre - size / 2) * side), int((centre + size / 2) * side))
        for centre, size, side in ((cy, tall, image.shape[0]), (cx, width, image.shape[1]))
    )
    cut = image[y1:y2, x1:x2]
    return cv2.resize(cut, (round(cut.shape[1] * HEIGHT_PX / cut.shape[0]), HEIGHT_PX), interpolation=cv2.INTER_AREA)


def paste(canvas: np.ndarray, sprite: np.ndarray, corner: tuple[int, int]) -> None:
    left, top = corner
    x1, x2 = max(left, 0), min(left + sprite.shape[1], canvas.shape[1])
    if x2 > x1:
        canvas[top : top + sprite.shape[0], x1:x2] = sprite[:, x1 - left : x2 - left]


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def object_at(row: dict[str, str]) -> str:
    """The object whose place in the frame a row overlaps most: where it is is known."""
    frame = int(row["frame"]) - 1
    centre = (float(row["xmin"]) + float(row["xmax"])) / 2, (float(row["ymin"]) + float(row["ymax"])) / 2

    def distance(name: str) -> float:
        left, top = left_top(name, frame)
        return abs(centre[0] - left - HEIGHT_PX / 2) + abs(centre[1] - top - HEIGHT_PX / 2)

    return min(SPRITES, key=distance)


@pytest.fixture
def detected(commands: Commands, video: Path, published_weights: Path) -> Path:
    commands(
        "predict", "--weights", published_weights, "--source", video, "--imgsz", 320, "--device", "cpu", "--track",
        "--save-csv", "--save-json", "--save-txt", "--save-conf", "--project", "runs", "--name", "followed",
    ).succeeded()  # fmt: skip
    return Path("runs/followed")


@pytest.mark.slow
def test_objects_that_cross_or_are_hidden_for_some_frames_keep_their_numbers_in_all_files(detected: Path) -> None:
    rows = rows_of(detected)
    tracks: dict[str, Counter[str]] = {name: Counter() for name in SPRITES}
    for row in rows:
        if row["track"]:
            tracks[object_at(row)][row["track"]] += 1
    numbers = {name: counter.most_common(1)[0] for name, counter in tracks.items()}
    assert len({number for number, _ in numbers.values()}) == 3
    for name, (_, frames) in numbers.items():
        seen = FRAMES - (len(HIDDEN) if name == "person" else 0)
        assert frames >= 0.9 * seen, (name, tracks[name])

    document = json.loads((detected / "predictions.json").read_text("utf-8"))
    assert [entry["frame"] for entry in document] == list(range(1, FRAMES + 1))
    lines = [
        line.split()
        for entry in document
        if (path := detected / "labels" / f"street_{entry['frame']}.txt").exists()
        for line in path.read_text().splitlines()[::-1]
    ]
    found = [one for entry in document for one in entry["detections"]]
    # The same objects, in the same order but for csv, and with the same numbers everywhere.
    assert [line[-1] for line in lines] == [str(one["track"] or -1) for one in found]
    assert len(found) == len(rows) == len(lines)
    assert Counter(row["track"] for row in rows) == Counter(str(one["track"] or "") for one in found)
    assert all(len(line) == 7 for line in lines)
    capture = cv2.VideoCapture(str(detected / "street.mp4"), cv2.CAP_FFMPEG)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
