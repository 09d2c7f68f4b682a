"""Videos for tests: each frame carries its number in its pixels, so that a test sees which frame it is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

BITS, BLOCK_PX = 10, 16
_GREY = 60


def numbered_frame(number: int, hw: tuple[int, int] = (96, 192)) -> np.ndarray:
    """Return uint8 [H, W, 3]: a row of black and white blocks, the bits of `number`, over grey."""
    frame = np.full((*hw, 3), _GREY, np.uint8)
    for bit in range(BITS):
        frame[:BLOCK_PX, bit * BLOCK_PX : (bit + 1) * BLOCK_PX] = 230 if number >> bit & 1 else 10
    return frame


def number_in(image: np.ndarray) -> int:
    """Return the number that a frame carries, also after compression."""
    middle = BLOCK_PX // 2
    return sum(int(image[middle, bit * BLOCK_PX + middle].mean() > 120) << bit for bit in range(BITS))


def write_video(
    path: Path, frames: int, hw: tuple[int, int] = (96, 192), fps: float = 25.0, codec: str = "mp4v"
) -> Path:
    """Write a video of numbered frames, the first is 0, and return its path."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, hw[::-1])
    assert writer.isOpened()
    for number in range(frames):
        writer.write(numbered_frame(number, hw))
    writer.release()
    return path


def frames_of(path: Path) -> list[np.ndarray]:
    """Return all frames of a video, uint8 [H, W, 3] BGR."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = []
    while True:
        done, frame = capture.read()
        if not done:
            return frames
        frames.append(frame)


def fps_of(path: Path) -> float:
    """Return the frames per second that a video says it has."""
    return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FPS)
