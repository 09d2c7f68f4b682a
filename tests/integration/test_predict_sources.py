"""The predict command on real images, with published weights: the batch changes nothing, Ctrl-C and kill leave no half
files, standard input, and what it says of wrong wishes."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from commands import Commands
from videos import frames_of

from accel_yolo.inference.output import windows

NEEDED = 6


@pytest.fixture(scope="module")
def photos(reference_dir: Path) -> list[Path]:
    """Real images of several shapes."""
    return sorted((reference_dir / "data" / "coco128" / "images").iterdir())[:NEEDED]


@pytest.fixture(scope="module")
def film(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of real images, 20 frames."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 20, (320, 240))
    for number in range(20):
        image = cv2.imdecode(np.fromfile(photos[number % NEEDED], np.uint8), cv2.IMREAD_COLOR)
        writer.write(cv2.resize(image, (320, 240)))
    writer.release()
    return path


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Two threads of torch, so that batches are worked on side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def labels_in(folder: Path) -> dict[str, np.ndarray]:
    texts = {path.name: path.read_text().splitlines() for path in sorted((folder / "labels").iterdir())}
    return {name: np.array([[float(v) for v in line.split()] for line in lines]) for name, lines in texts.items()}


@pytest.mark.usefixtures("two_threads")
def test_results_depend_neither_on_the_batch_nor_on_who_works_beside(
    commands: Commands, published_weights: Path, film: Path, photos: list[Path]
) -> None:
    Path("all.txt").write_text("".join(f"{path}\n" for path in [*photos, film]))
    found = []
    for batch in (1, 8):
        words = ("--imgsz", "160", "--save-txt", "--save-conf", "--nosave", "--name", f"b{batch}", "--conf", "0.3")
        commands.detect("all.txt", published_weights, *words, "--batch", str(batch)).succeeded()
        found.append(labels_in(commands.project / f"b{batch}"))
    one, eight = found
    assert one.keys() == eight.keys() and len(one) > NEEDED
    for name, rows in one.items():
        assert rows[:, 0].tolist() == eight[name][:, 0].tolist()
        # Boxes are at whole pixels: one that lies between two may go either way.
        np.testing.assert_allclose(rows[:, 1:5], eight[name][:, 1:5], atol=1.01 / 240)
        np.testing.assert_allclose(rows[:, 5], eight[name][:, 5], atol=1e-4)


def test_a_list_on_standard_input_and_an_image_on_standard_input(
    commands: Commands, published_weights: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for content, files in (
        ("\n".join(map(str, photos[:2])).encode(), [photos[0].name, photos[1].name]),
        (photos[0].read_bytes(), ["stdin.jpg"]),
        (photos[0].read_bytes() + photos[1].read_bytes(), ["stdin-2.jpg", "stdin.jpg"]),
    ):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        outcome = commands.detect("-", published_weights).succeeded()
        folder = Path(outcome.out.strip().rpartition(" ")[2])
        assert sorted(path.name for path in folder.glob("[!.]*")) == files


def test_feature_maps_of_an_image_are_written_beside_it(
    commands: Commands, published_weights: Path, photos: list[Path], film: Path
) -> None:
    commands.detect(photos[0], published_weights, "--visualize").succeeded()
    assert len(list((commands.project / "exp" / photos[0].stem).glob("layer*.png"))) == 24
    commands.detect(film, published_weights, "--visualize").error(2, "feature maps are of images in --visualize")
    commands.detect(photos[0], published_weights, "--visualize", "--augment").error(2, "no layers to look into")


def test_a_window_where_there_is_none_is_refused_before_anything_is_written(
    commands: Commands, published_weights: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows.cv2, "getBuildInformation", lambda: "  GUI:        NONE\n")
    commands.detect(photos[0], published_weights, "--view-img").error(7, "no windows in --view-img")
    assert not commands.project.exists()


def test_weights_are_not_rewritten_in_place(commands: Commands, published_weights: Path, photos: list[Path]) -> None:
    commands.detect(photos[0], published_weights, "--update").error(2, "--update", "accel-yolo convert")


def started(weights: Path, source: Path, project: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "accel_yolo", "predict", "--weights", str(weights), "--source", str(source)]
    words += ["--imgsz", "320", "--device", "cpu", "--project", str(project), "--verbose"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_a_complete_video_or_none(
    published_weights: Path, film: Path, tmp_path: Path, number: int
) -> None:
    long = tmp_path / "long.mp4"
    writer = cv2.VideoWriter(str(long), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 20, (320, 240))
    for frame in frames_of(film) * 40:
        writer.write(frame)
    writer.release()
    with started(published_weights, long, tmp_path / "runs") as running:
        assert running.stdout is not None
        for _ in range(10):
            assert running.stdout.readline().startswith("video 1/1 (")
        running.send_signal(number)
        end = time.monotonic() + 60
        out, err = running.communicate(timeout=max(1, end - time.monotonic()))
    finished = list((tmp_path / "runs" / "exp").glob("[!.]*"))
    if number == signal.SIGKILL:
        assert not finished, "a half file never has the name of a whole one"
        return
    assert running.returncode == 130
    assert err.splitlines()[-1] == "error: interrupted" and "Traceback" not in err
    (video,) = finished
    frames = len(frames_of(video))
    assert 10 <= frames < 800
    assert f"{frames} frames of 1 video done, results in" in out
    assert not list((tmp_path / "runs" / "exp").glob(".*.mp4"))
