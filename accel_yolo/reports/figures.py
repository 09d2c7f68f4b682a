"""How figures become files: whole or not at all, without a window, and with any text a user may choose as a name."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel_yolo.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

LONGEST_NAME = 24
JPEG_QUALITY = 88
BLUE, GREY, MARK = "#1f5fa8", "#8a8a8a", "#c33b22"
"""Colours of what matters, of what is beside it, and of what is pointed at."""

_UNDER_IN, _BESIDE_IN = 0.34, 0.45
"""From axes to their names, which stand beyond the numbers."""


def save_figure(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a figure as PNG, or as JPEG where the name ends so. Raises EnvironmentFault where that is impossible."""
    kind = "jpeg" if path.suffix.lower() in (".jpg", ".jpeg") else "png"
    how: dict[str, Any] = {"pil_kwargs": {"quality": JPEG_QUALITY}} if kind == "jpeg" else {}
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes, which says enough.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(temporary, format=kind, dpi=dpi, **how)


def short(name: str) -> str:
    """Return a name that is not longer than a legend can hold."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def take_literally(texts: Iterable[Text]) -> None:
    """Let texts show what they say: between dollar signs matplotlib would look for mathematics."""
    for text in texts:
        text.set_parse_math(False)


def name_axes(axes: Axes, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Name axes at fixed places: looking for free ones would take as long again as the drawing."""
    width, height = axes.get_window_extent().size / axes.get_figure(root=True).dpi  # pyright: ignore
    if title:
        axes.set_title(title, y=1.0, pad=6)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.xaxis.set_label_coords(0.5, -_UNDER_IN / height)
    axes.yaxis.set_label_coords(-_BESIDE_IN / width, 0.5)
