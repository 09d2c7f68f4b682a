"""The predict command on videos: all frames, in order, whatever the batch, and complete files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from videos import fps_of, frames_of, number_in, numbered_frame, write_video

from accel_yolo.config.predict_schema import PredictConfig
from accel_yolo.errors import DataError, EnvironmentFault
from accel_yolo.inference import predict as command
from accel_yolo.inference.network import Network
from accel_yolo.inference.output import outputs
from accel_yolo.inference.predict import predict

SPOT_HW = (96, 320)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bright_spot: Network) -> Path:
    """An empty working folder; the detector is the known one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "load_network", lambda *_: bright_spot)
    return tmp_path


def run(source: str, **flags: Any) -> Path:
    return predict(PredictConfig(weights=("w.pt",), source=source, device="cpu", imgsz=(320,), **flags))


def spot_left(number: int) -> int:
    """Where the white square of a frame begins, px."""
    return 8 * (number % 32)


def spot_video(path: Path, frames: int) -> Path:
    """Write a video whose frames carry their number, and a white square that moves with it; lossless."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"FFV1"), 25, SPOT_HW[::-1])
    for number in range(frames):
        frame = numbered_frame(number, SPOT_HW)
        frame[48:80, spot_left(number) : spot_left(number) + 32] = 255
        writer.write(frame)
    writer.release()
    return path


@pytest.mark.parametrize("batch", [1, 8])
def test_all_frames_are_looked_at_once_in_order_and_written_in_order(batch: int) -> None:
    spot_video(Path("clip.mkv"), 300)
    folder = run("clip.mkv", batch=batch, save_txt=True, classes=("1",))
    assert [number_in(frame) for frame in frames_of(folder / "clip.mp4")] == list(range(300))
    assert fps_of(folder / "clip.mp4") == 25
    names = {path.name for path in (folder / "labels").iterdir()}
    assert names == {f"clip_{number}.txt" for number in range(1, 301)}
    for number in range(300):
        label, cx, *_ = (folder / "labels" / f"clip_{number + 1}.txt").read_text().split()
        assert label == "1"
        assert float(cx) * SPOT_HW[1] == pytest.approx(spot_left(number) + 16, abs=2)


def test_images_and_videos_of_a_folder_lie_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    write_video(Path("in/b.mp4"), 5)
    write_video(Path("in/c.avi"), 3, codec="MJPG")
    Path("in/b.png").write_bytes(cv2.imencode(".png", numbered_frame(0))[1].tobytes())
    Path("in/broken.mp4").write_bytes(b"no video")
    folder = run("in", batch=2)
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["b-2.mp4", "b.png", "c.mp4"]
    assert [len(frames_of(folder / name)) for name in ("b-2.mp4", "c.mp4")] == [5, 3]
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0].startswith("image 1/4 in/b.png: ")
    assert lines[1].startswith("video 2/4 in/b.mp4: 5 frames of 192x320, no detections, ")
    assert lines[2].startswith("video 4/4 in/c.avi: 3 frames of 192x320, ")
    assert lines[3].startswith("speed per image: ") and "decode" in lines[3] and "images/s together" in lines[3]
    assert lines[4] == f"1 image and 8 frames of 2 videos done, 1 skipped, results in {folder}"
    assert "warning: video 3/4 skipped: not a video, or damaged in in/broken.mp4" in told.err


def test_every_so_many_frames_are_looked_at_and_the_result_takes_as_long() -> None:
    write_video(Path("clip.mp4"), 40)
    folder = run("clip.mp4", vid_stride=4)
    assert [number_in(frame) for frame in frames_of(folder / "clip.mp4")] == list(range(0, 40, 4))
    assert fps_of(folder / "clip.mp4") == pytest.approx(25 / 4)


def test_a_verbose_run_tells_a_line_for_each_frame(capsys: pytest.CaptureFixture[str]) -> None:
    spot_video(Path("clip.mkv"), 3)
    run("clip.mkv", verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" ms")[0].rpartition(",")[0] for line in lines[:3]] == [
        f"video 1/1 ({number}/3) clip.mkv: 128x320 1 person, 1 dog" for number in (1, 2, 3)
    ]
    assert lines[3].startswith("video 1/1 clip.mkv: 3 frames of 128x320, ")
    assert "dog in 3" in lines[3] and "person in 3" in lines[3]


def test_crops_are_named_by_frame_and_nosave_writes_no_video() -> None:
    spot_video(Path("clip.mkv"), 2)
    folder = run("clip.mkv", save_crop=True, nosave=True, classes=("1",))
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("[!.]*") if path.is_file())
    assert files == ["crops/dog/clip_1.jpg", "crops/dog/clip_2.jpg"]


def test_a_damaged_video_is_used_as_far_as_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    content = write_video(Path("clip.avi"), 60, codec="MJPG").read_bytes()
    Path("clip.avi").write_bytes(content[: len(content) // 2])
    folder = run("clip.avi")
    done = [number_in(frame) for frame in frames_of(folder / "clip.mp4")]
    assert done == list(range(len(done))) and 10 < len(done) < 60
    told = capsys.readouterr()
    assert f"the video ends early in clip.avi: frame {len(done)} of 60" in told.err
    assert f"{len(done)} frames of 1 video done, results in" in told.out


def test_a_source_that_is_no_video_leaves_no_folder() -> None:
    Path("clip.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="not a video, or damaged in clip.mp4"):
        run("clip.mp4")
    assert not Path("runs").exists()


def test_an_error_of_the_writer_ends_the_run_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(Path("clip.mp4"), 100)

    def full(*_: object) -> None:
        raise EnvironmentFault("cannot write", value="labels", remedy="the disk is full")

    monkeypatch.setattr(outputs, "write_file", full)
    monkeypatch.setattr(outputs, "label_text", lambda *_, **__: "x")
    with pytest.raises(EnvironmentFault, match="cannot write: labels; the disk is full"):
        run("clip.mp4", save_txt=True)


def test_ctrl_c_leaves_a_complete_video_of_what_was_done(bright_spot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(Path("clip.mp4"), 50)
    plain = type(bright_spot).__call__

    def interrupted(network: Any, images: Any) -> Any:
        if len(network.inputs) == 20:
            raise KeyboardInterrupt
        return plain(network, images)

    monkeypatch.setattr(type(bright_spot), "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("clip.mp4")
    done = [number_in(frame) for frame in frames_of(Path("runs/detect/exp/clip.mp4"))]
    # The warm-up was the first of the twenty.
    assert done == list(range(19))
    assert [path.name for path in Path("runs/detect/exp").glob("[!.]*")] == ["clip.mp4"]


def test_results_do_not_depend_on_the_batch(bright_spot: Any) -> None:
    Path("in").mkdir()
    rng = np.random.default_rng(2)
    for number in range(7):
        image = rng.integers(0, 200, (60 + 30 * (number % 3), 120, 3), np.uint8)
        image[10:40, 10 + number : 50] = 255
        Path(f"in/{number}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    texts = []
    for batch in (1, 3, 32):
        labels = run("in", batch=batch, save_txt=True, save_conf=True, nosave=True) / "labels"
        texts.append({path.name: path.read_text() for path in labels.iterdir()})
    assert len(texts[0]) == 7
    assert texts[0] == texts[1] == texts[2]
    assert max(shape[0] for shape in bright_spot.seen) == 3
