"""Tiles, tracks and the files of all predictions in the predict command."""

from __future__ import annotations

import contextlib
import csv
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from videos import write_video

from accel_yolo.config.predict_schema import PredictConfig
from accel_yolo.errors import ConfigError, EnvironmentFault
from accel_yolo.inference import predict as command
from accel_yolo.inference.output import outputs
from accel_yolo.inference.picture_detector import Picture
from accel_yolo.inference.predict import predict
from accel_yolo.inference.results import Detections
from accel_yolo.inference.sources.frames import Frame
from accel_yolo.inference.sources.items import Item

pytestmark = pytest.mark.usefixtures("predict_place")


def run(source: str = "photos/**/*.png", **flags: Any) -> Path:
    return predict(PredictConfig(weights=("w.pt",), source=source, device="cpu", imgsz=(128,), **flags))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_all_predictions_in_one_file_are_those_that_are_drawn() -> None:
    folder = run(save_csv=True, save_json="images", save_txt=True)
    assert sorted(path.name for path in folder.glob("[!.]*")) == [
        "empty.png", "labels", "predictions.csv", "predictions.json", "x-2.png", "x.png",
    ]  # fmt: skip
    rows = rows_of(folder / "predictions.csv")
    assert [(row["Image Name"], row["Prediction"], row["Confidence"]) for row in rows] == [
        ("x.png", "person", "0.40"), ("x.png", "dog", "0.90"), ("x.png", "person", "0.40"), ("x.png", "dog", "0.90"),
    ]  # fmt: skip
    assert {(row["frame"], row["track"]) for row in rows} == {("", "")}
    entries = json.loads((folder / "predictions.json").read_text())
    assert [entry["image"] for entry in entries] == ["photos/a/x.png", "photos/b/x.png", "photos/empty.png"]
    assert [len(entry["detections"]) for entry in entries] == [2, 2, 0]
    lines = [(folder / "labels" / f"{stem}.txt").read_text().splitlines() for stem in ("x", "x-2")]
    assert sum(map(len, lines)) == len(rows)
    corners = np.array([[float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")] for row in rows])
    np.testing.assert_allclose(corners[1], [40, 30, 100, 90], atol=2)


def test_nothing_is_written_into_one_file_unless_asked() -> None:
    assert not [path for path in run(save_txt=True).iterdir() if path.name.startswith("predictions")]


def test_coco_results_have_a_row_for_each_object() -> None:
    results = json.loads((run(save_json="coco", nosave=True) / "predictions.json").read_text())
    expected = [("x", 1), ("x", 0), ("x-2", 1), ("x-2", 0)]
    assert [(row["image_id"], row["category_id"]) for row in results] == expected


def test_what_is_skipped_is_in_no_file_and_the_files_are_whole() -> None:
    Path("photos/a/broken.png").write_bytes(b"no image")
    folder = run(save_json="images", nosave=True)
    assert len(json.loads((folder / "predictions.json").read_text())) == 3


def test_a_run_that_fails_keeps_what_it_had_under_a_name_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise EnvironmentFault("cannot write", value="labels", remedy="the disk is full")

    monkeypatch.setattr(outputs, "write_file", full)
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        run(save_csv=True, save_json="images", save_txt=True, nosave=True)
    folder = Path("runs/detect/exp")
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["predictions.csv.partial", "predictions.json.partial"]
    assert len(rows_of(folder / "predictions.csv.partial")) == 2


@pytest.mark.parametrize("is_live", [False, True])
def test_ctrl_c_ends_a_stream_whole_and_images_in_part(is_live: bool, tmp_path: Path) -> None:
    config = PredictConfig(weights=("w.pt",), save_csv=True)
    ends = contextlib.nullcontext() if is_live else pytest.raises(KeyboardInterrupt)
    with ends, command._writing(outputs.Outputs(tmp_path / "run", config)), command._ends_with_ctrl_c(is_live):
        raise KeyboardInterrupt
    assert [path.name for path in (tmp_path / "run").iterdir()] == [f"predictions.csv{'' if is_live else '.partial'}"]


@pytest.mark.parametrize("is_live", [False, True], ids=["images", "streams, where it is the second one"])
def test_ctrl_c_while_the_rest_is_written_leaves_tables_in_part(
    is_live: bool, tmp_path: Path, spot_image: Callable[..., np.ndarray]
) -> None:
    handed_over = threading.Event()
    written: list[str] = []

    class Slow(outputs.Outputs):
        def write(self, frame: Frame, found: Detections) -> None:
            handed_over.wait(20)
            if not written:
                time.sleep(0.1)  # the main thread waits for the rest by now
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                time.sleep(0.1)
            super().write(frame, found)
            written.append(found.stem)

        def close(self, whole: bool = True) -> None:
            super().close(whole)
            written.append("end")

    one = np.array([[1, 2, 3, 4]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64)
    run = Slow(tmp_path / "run", PredictConfig(weights=("w.pt",), save_csv=True, nosave=True))
    with pytest.raises(KeyboardInterrupt), command._writing(run) as writer, command._ends_with_ctrl_c(is_live):
        for number in range(5):
            found = Detections(*one, {0: "dog"}, spot_image(), path=f"{number}.png", stem=str(number))
            writer.put((Frame(Picture(spot_image()), Item(f"{number}.png", "image")), found))
        handed_over.set()
        if is_live:
            raise KeyboardInterrupt
    assert written == ["0", "end"], "nothing is written after the tables are closed"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["predictions.csv.partial"]
    assert len(rows_of(tmp_path / "run" / "predictions.csv.partial")) == 1


def test_the_handler_of_a_host_program_that_python_does_not_know_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[object] = []
    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    monkeypatch.setattr(signal, "signal", lambda _, handler: set_to.append(handler))
    with command._ends_with_ctrl_c(True):
        raise KeyboardInterrupt
    assert set_to == []


def test_a_killed_run_leaves_what_it_had(tmp_path: Path) -> None:
    script = """
import os, sys, numpy as np
from pathlib import Path
from accel_yolo.inference.output.prediction_files import PredictionsJson, Shown
from accel_yolo.inference.results import Detections
file = PredictionsJson(Path(sys.argv[1]))
nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
for number in range(3):
    file.write(Shown(f"{number}.png"), Detections(*nothing, {}, np.zeros((4, 4, 3), np.uint8)))
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "p.json")], check=False)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("p.")] == ["p.json.partial"]
    # A list that only lacks its end.
    text = (tmp_path / "p.json.partial").read_text()
    assert [entry["image"] for entry in json.loads(text + "]")] == ["0.png", "1.png", "2.png"]


def test_large_images_are_cut_and_the_line_says_into_how_many(
    spot_image: Callable[..., np.ndarray], png: Callable[..., bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("large.png").write_bytes(png(spot_image((200, 400), (310, 120, 330, 140))))
    folder = run("large.png", tile=128, overlap=0.25, save_csv=True, nosave=True, conf_thres=0.6)
    (row,) = rows_of(folder / "predictions.csv")
    corners = [float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")]
    np.testing.assert_allclose(corners, [310, 120, 330, 140], atol=1)
    # Two rows of four tiles, and the whole image.
    assert "large.png: 128x128 x9 1 dog, " in capsys.readouterr().out


@pytest.mark.parametrize(("side", "word"), [(256, "shrunk"), (64, "enlarged")])
def test_tiles_that_do_not_go_into_the_network_as_they_are_are_remarked(
    side: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tile=side, nosave=True)
    assert f"tiles of {side} px are {word} to 128 px; --imgsz {side} keeps their pixels" in capsys.readouterr().err
    run(tile=128, nosave=True)
    assert "tiles of" not in capsys.readouterr().err


def test_objects_of_a_video_have_their_number_in_every_file() -> None:
    writer = cv2.VideoWriter("clip.mkv", cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"FFV1"), 25, (320, 96))
    for number in range(12):
        frame = np.full((96, 320, 3), 60, np.uint8)
        frame[48:80, 8 * number : 8 * number + 32] = 255
        writer.write(frame)
    writer.release()
    folder = run("clip.mkv", track="bytetrack", save_csv=True, save_txt=True, classes=("dog",))
    rows = rows_of(folder / "predictions.csv")
    assert [(row["frame"], row["track"]) for row in rows] == [("1", ""), *((str(n), "1") for n in range(2, 13))]
    words = [(folder / "labels" / f"clip_{number}.txt").read_text().split() for number in range(1, 13)]
    assert [line[5:] for line in words] == [["-1"], *([["1"]] * 11)]


@pytest.mark.parametrize(
    ("source", "hidden", "error", "message"),
    [
        ("photos/**/*.png", False, ConfigError, "nothing to follow objects through in --source: photos/"),
        ("clip.mp4", True, EnvironmentFault, "tracking needs a package that is missing: trackers; pip install"),
    ],
)
def test_what_cannot_be_followed_is_told_before_anything_is_loaded(
    source: str, hidden: bool, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(Path("clip.mp4"), 3)
    if hidden:
        monkeypatch.setitem(sys.modules, "trackers", None)
    monkeypatch.setattr(command, "load_network", lambda *_: pytest.fail("the network was loaded"))
    with pytest.raises(error, match=message):
        run(source, track="bytetrack")
    assert not Path("runs").exists()
