"""Drawn pictures in a window, where there is a screen."""

from __future__ import annotations

import contextlib
import re

import cv2
import numpy as np
from numpy.typing import NDArray

from accel_yolo.errors import EnvironmentFault
from accel_yolo.inference.output.showing import has_screen
from accel_yolo.inference.sources.frames import Frame

_END_KEYS = frozenset((27, ord("q")))


class Windows:
    """Shows each picture in the window of its source: an image until a key is pressed, a frame until the next.

    Raises:
        EnvironmentFault: there is no screen, or OpenCV was built without windows.
    """

    def __init__(self) -> None:
        if re.search(r"^\s*GUI:\s+NONE\s*$", cv2.getBuildInformation(), flags=re.MULTILINE):
            remedy = "pip uninstall opencv-python-headless, then pip install opencv-python; or open the run folder"
            raise EnvironmentFault("no windows", "--view-img", "the installed OpenCV is headless", remedy)
        if not has_screen():
            raise EnvironmentFault("no screen", "--view-img", "DISPLAY is not set", "open the run folder instead")

    def show(self, frame: Frame, drawn: NDArray[np.uint8]) -> None:
        """Show a picture, uint8 [H, W, 3] RGB.

        Raises:
            KeyboardInterrupt: the user has pressed q or Escape.
        """
        window, is_image = frame.item.shown, frame.item.kind == "image"
        cv2.imshow(window, np.ascontiguousarray(drawn[..., ::-1]))
        key = cv2.waitKey(0 if is_image else 1)
        if is_image:
            with contextlib.suppress(cv2.error):  # the user may have closed it
                cv2.destroyWindow(window)
        if key & 0xFF in _END_KEYS:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Close all windows."""
        cv2.destroyAllWindows()
