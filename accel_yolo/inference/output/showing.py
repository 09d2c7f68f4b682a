"""Pictures on a screen, where there is one."""

from __future__ import annotations

import os
import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from accel_yolo import console


def show_image(image: NDArray[np.uint8]) -> bool:
    """Return whether uint8 [H, W, 3] RGB could be shown: in the notebook, else in the system's viewer.

    One warning says so where there is no display.
    """
    picture = Image.fromarray(image)
    if _in_notebook():
        from IPython.display import display  # pyright: ignore[reportMissingImports]

        display(picture)
        return True
    if not has_screen():
        console.warn("no display to show images on; save() writes them into a folder")
        return False
    picture.show()
    return True


def has_screen() -> bool:
    """Return whether windows can be shown, as far as that is known without opening one."""
    return not sys.platform.startswith("linux") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
