"""Video files: every frame once and in order on the way in, complete or not there on the way out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from videos import fps_of, frames_of, number_in, numbered_frame, write_video

from accel_yolo.errors import DataError, EnvironmentFault
from accel_yolo.inference.sources import video
from accel_yolo.inference.sources.frames import Frame, Unreadable
from accel_yolo.inference.sources.items import Item
from accel_yolo.inference.sources.video import VideoWriter, opened, read_video


def seen(path: Path, stride: int = 1) -> list[Frame | Unreadable]:
    return list(read_video(Item(str(path), "video", path.stem), path, stride))


def numbers(path: Path, stride: int = 1) -> list[int]:
    return [number_in(one.picture.image) for one in seen(path, stride) if isinstance(one, Frame)]


def promising(path: Path, frames: int) -> Path:
    """Change what the headers of an AVI file say of its length, and return its path."""
    content = bytearray(path.read_bytes())
    for chunk, offset in ((b"avih", 24), (b"strh", 40)):
        place = content.index(chunk) + offset
        content[place : place + 4] = frames.to_bytes(4, "little")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "mp4v"), ("a.mov", "mp4v")]
)
def test_every_frame_comes_once_and_in_order(tmp_path: Path, name: str, codec: str) -> None:
    frames = seen(write_video(tmp_path / name, 300, codec=codec))
    assert [number_in(one.picture.image) for one in frames if isinstance(one, Frame)] == list(range(300))
    assert [one.number for one in frames if isinstance(one, Frame)] == list(range(1, 301))
    first = frames[0]
    assert isinstance(first, Frame)
    assert (first.total, first.fps, first.picture.stem) == (300, 25, "a_1")


def test_a_stride_leaves_frames_out_and_keeps_numbers_and_duration(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 20)
    assert numbers(path, 7) == [0, 7, 14]
    frames = [one for one in seen(path, 7) if isinstance(one, Frame)]
    assert [one.number for one in frames] == [1, 8, 15]
    assert frames[0].fps == pytest.approx(25 / 7)


@pytest.mark.parametrize("promised", [0, 10])
def test_frames_beyond_the_number_that_the_header_promises_are_read(tmp_path: Path, promised: int) -> None:
    path = promising(write_video(tmp_path / "a.avi", 40, codec="MJPG"), promised)
    assert numbers(path) == list(range(40))
    assert not any(isinstance(one, Unreadable) for one in seen(path))


def test_a_video_that_ends_early_says_after_which_frame_and_how_many_it_promised(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", 60, codec="MJPG")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    *frames, last = seen(path)
    assert [number_in(one.picture.image) for one in frames if isinstance(one, Frame)] == list(range(len(frames)))
    assert isinstance(last, Unreadable) and last.frames == len(frames)
    assert re.search(rf"a\.avi: frame {len(frames)} of 60", str(last.error))


@pytest.mark.parametrize("broken", [1, 2, 5], ids=["first", "second", "last"])
def test_a_frame_that_cannot_be_decoded_ends_the_video_and_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    class Failing:
        """A real capture; OpenCV's own fails like this only for some codecs."""

        def __init__(self, path: Path) -> None:
            self.capture, self.asked = opened(path), 0
            self.grab, self.get, self.release = self.capture.grab, self.capture.get, self.capture.release

        def retrieve(self) -> Any:
            self.asked += 1
            return self.capture.retrieve() if self.asked != broken else (False, None)

    path = write_video(tmp_path / "a.mp4", 5)
    monkeypatch.setattr(video, "opened", Failing)
    if broken == 1:
        with pytest.raises(DataError, match="holds no readable frame"):
            seen(path)
        return
    *frames, last = seen(path)
    assert len(frames) == broken - 1
    assert isinstance(last, Unreadable) and last.frames == broken - 1
    assert f"a.mp4: frame {broken - 1} of 5; its rest is missing" in str(last.error)


def test_colours_are_rgb(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", 25)
    writer.write(np.full((64, 64, 3), (220, 40, 30), np.uint8))
    writer.close()
    (frame,) = seen(tmp_path / "a.mp4")
    assert isinstance(frame, Frame)
    np.testing.assert_allclose(frame.picture.image[32, 32], (220, 40, 30), atol=8)


def test_a_video_is_turned_as_its_metadata_ask(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 3, hw=(96, 192))
    content = path.read_bytes()
    # The matrix of the track header (ISO/IEC 14496-12, 8.3.2): a quarter turn clockwise.
    place = content.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    matrix = (0, 1 << 16, 0, -(1 << 16), 0, 0, 96 << 16, 0, 1 << 30)
    turned = b"".join((value & 0xFFFFFFFF).to_bytes(4, "big") for value in matrix)
    path.write_bytes(content[:place] + turned + content[place + 36 :])
    frames = [one.picture.image for one in seen(path) if isinstance(one, Frame)]
    assert [frame.shape for frame in frames] == [(192, 96, 3)] * 3
    assert [number_in(np.rot90(frame)) for frame in frames] == [0, 1, 2]


def test_an_animation_is_a_video(tmp_path: Path) -> None:
    frames = [Image.fromarray(numbered_frame(number)) for number in range(10)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=40)
    assert numbers(tmp_path / "a.gif") == list(range(10))


@pytest.mark.parametrize("name", ["12:30.mp4", "höhe %03d.mp4", os.fsdecode(b"\xff\xfe.mp4")])
def test_a_video_of_any_name_is_read_and_written(tmp_path: Path, name: str) -> None:
    plain = write_video(tmp_path / "plain.mp4", 5)
    path = plain.rename(tmp_path / name)
    assert numbers(path) == list(range(5))
    (tmp_path / "out").mkdir()
    writer = VideoWriter(tmp_path / "out" / name, 25)
    writer.write(numbered_frame(3))
    writer.close()
    assert numbers(tmp_path / "out" / name) == [3]


@pytest.mark.parametrize("content", [b"", b"no video at all"])
def test_what_is_no_video_is_one_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not a video, or damaged in .*a\.mp4"):
        seen(path)
    with pytest.raises(DataError, match=r"cannot be read in .*gone\.mp4: No such file"):
        seen(tmp_path / "gone.mp4")


def test_opencv_and_ffmpeg_say_nothing_of_their_own(tmp_path: Path) -> None:
    for name in ("empty.mp4", "text.mp4"):
        (tmp_path / name).write_text("no video" if name == "text.mp4" else "")
    program = (
        "import sys, pathlib\n"
        "from accel_yolo.inference.sources.video import opened\n"
        "from accel_yolo.errors import DataError\n"
        "for name in sys.argv[1:]:\n"
        "    try: opened(pathlib.Path(name))\n"
        "    except DataError as error: print(error)\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "empty.mp4"), str(tmp_path / "text.mp4")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.count("not a video, or damaged") == 2
    assert done.stderr == ""


@pytest.mark.parametrize("hw", [(96, 192), (97, 193), (96, 193), (97, 192)])
@pytest.mark.parametrize("fps", [25.0, 30000 / 1001, 12.5])
def test_a_written_video_has_the_frames_the_size_and_the_speed_it_was_given(
    tmp_path: Path, hw: tuple[int, int], fps: float
) -> None:
    writer = VideoWriter(tmp_path / "deep" / "a.mp4", fps)
    for number in range(8):
        writer.write(numbered_frame(number, hw))
    writer.close()
    frames = frames_of(tmp_path / "deep" / "a.mp4")
    assert [number_in(frame) for frame in frames] == list(range(8))
    # An odd side grows by a pixel: nothing is cut off.
    assert frames[0].shape == (hw[0] + hw[0] % 2, hw[1] + hw[1] % 2, 3)
    assert fps_of(tmp_path / "deep" / "a.mp4") == pytest.approx(fps, rel=1e-4)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.mp4"]


def test_frames_of_another_size_are_scaled_to_that_of_the_first(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", 25)
    writer.write(numbered_frame(1))
    larger = cv2.resize(numbered_frame(2), (384, 192), interpolation=cv2.INTER_NEAREST)
    writer.write(np.asarray(larger, np.uint8))
    writer.close()
    assert [number_in(frame) for frame in frames_of(tmp_path / "a.mp4")] == [1, 2]


def test_a_video_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"an older one")
    writer = VideoWriter(tmp_path / "a.mp4", 25)
    writer.write(numbered_frame(0))
    assert (tmp_path / "a.mp4").read_bytes() == b"an older one"
    writer.close()
    assert len(frames_of(tmp_path / "a.mp4")) == 1


def test_a_video_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match="cannot write"):
        VideoWriter(tmp_path / "file" / "a.mp4", 25).write(numbered_frame(0))
    writer = VideoWriter(tmp_path / "a.mp4", 25)
    writer.write(numbered_frame(0))
    (partial,) = tmp_path.glob(".*.mp4")
    partial.unlink()
    with pytest.raises(EnvironmentFault, match="cannot write the video"):
        writer.close()
