"""Windows: refused where there are none; what is shown where there are."""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
import pytest

from accel_yolo.errors import EnvironmentFault
from accel_yolo.inference.output.windows import Windows
from accel_yolo.inference.picture_detector import Picture
from accel_yolo.inference.sources.frames import Frame
from accel_yolo.inference.sources.items import Item

HEADLESS, WITH_WINDOWS = "  GUI:                           NONE\n", "  GUI:                           QT5\n"


def frame(kind: Any) -> Frame:
    return Frame(Picture(np.zeros((4, 4, 3), np.uint8)), Item("photo.jpg", kind))


def test_an_opencv_without_windows_is_one_error_with_the_command_that_brings_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: f"General\n{HEADLESS}  FFMPEG: YES\n")
    with pytest.raises(EnvironmentFault, match="--view-img: the installed OpenCV is headless; .*opencv-python"):
        Windows()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="DISPLAY is a matter of Linux")
def test_without_a_screen_it_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: WITH_WINDOWS)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(EnvironmentFault, match="no screen in --view-img: DISPLAY is not set"):
        Windows()


def test_images_wait_for_a_key_frames_do_not_and_q_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: WITH_WINDOWS)
    monkeypatch.setenv("DISPLAY", ":0")
    shown: list[tuple[str, list[int]]] = []
    waits: list[int] = []
    monkeypatch.setattr(cv2, "imshow", lambda title, image: shown.append((title, image[0, 0].tolist())))
    monkeypatch.setattr(cv2, "waitKey", lambda ms: waits.append(ms) or -1)
    closed: list[str] = []
    monkeypatch.setattr(cv2, "destroyWindow", closed.append)
    windows = Windows()
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    windows.show(frame("image"), red)
    windows.show(frame("video"), red)
    assert shown == [("photo.jpg", [0, 0, 255])] * 2, "OpenCV wants blue first"
    assert waits == [0, 1]
    assert closed == ["photo.jpg"], "that of an image goes with its key, that of a video stays"
    monkeypatch.setattr(cv2, "waitKey", lambda ms: ord("q"))
    with pytest.raises(KeyboardInterrupt):
        windows.show(frame("video"), red)

    def gone(_: str) -> None:
        raise cv2.error("no such window")

    monkeypatch.setattr(cv2, "waitKey", lambda ms: -1)
    monkeypatch.setattr(cv2, "destroyWindow", gone)
    windows.show(frame("image"), red)  # the user has closed it
