"""How figures become files: whole or not at all, without a window, and with any text a user may choose as a name."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from accel_yolo.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

LONGEST_NAME = 24


def save_figure(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a figure as PNG. Raises EnvironmentFault where that is impossible."""
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes, which says enough.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(temporary, format="png", dpi=dpi)


def short(name: str) -> str:
    """Return a name that is not longer than a legend can hold."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def take_literally(texts: Iterable[Text]) -> None:
    """Let texts show what they say: between dollar signs matplotlib would look for mathematics."""
    for text in texts:
        text.set_parse_math(False)
