"""SVG that stands in an HTML page: elements whose texts are escaped, and round numbers for axes.

Drawn here, not by matplotlib: a page with a light and a dark theme needs charts that take their colours from it, and
these are a few kilobytes each, with tooltips and without a script.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

from accel_yolo.errors import escaped

SMALL = 1e-3
"""Below this a tick has a power of ten."""


def add(parent: Element, tag: str, text: str = "", **attributes: object) -> Element:
    """Return a new last child of an element; `stroke_width=2` is the attribute stroke-width, `class_` is class."""
    element = SubElement(parent, tag, _written(attributes))
    if text:
        element.text = escaped(text)
    return element


def drawing(width: float, height: float, label: str, **attributes: object) -> Element:
    """Return a new SVG of this size in px, which scales with its place; `label` is read to who cannot see it."""
    box = f"0 0 {_number(width)} {_number(height)}"
    return Element("svg", _written({"viewBox": box, "role": "img", "aria_label": escaped(label), **attributes}))


def markup(element: Element) -> Markup:
    """Return an element as text for a template."""
    return Markup(tostring(element, encoding="unicode"))  # noqa: S704 (written by ElementTree, which escapes)


def path_of(points: Iterable[tuple[float, float]]) -> str:
    """Return the `d` of a line through points."""
    return "M" + "L".join(f"{_number(x)},{_number(y)}" for x, y in points)


def ticks(low: float, high: float, most: int = 5, *, whole: bool = False) -> list[float]:
    """Return at most `most` + 1 round numbers from `low` to `high`: multiples of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= most * 1.0001)
    step = max(1.0, round(step)) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def tick_text(value: float) -> str:
    """Return the label of a tick."""
    if value == 0:
        return "0"
    if abs(value) < SMALL or abs(value) >= 1e5:
        mantissa, exponent = f"{value:.3g}".split("e") if "e" in f"{value:.3g}" else _power(value)
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.6g}"


def _power(value: float) -> tuple[str, str]:
    mantissa, exponent = f"{value:.2e}".split("e")
    return mantissa.rstrip("0").rstrip("."), exponent


def _written(attributes: dict[str, object]) -> dict[str, str]:
    return {
        name.rstrip("_").replace("_", "-"): _number(value) if isinstance(value, float) else str(value)
        for name, value in attributes.items()
    }


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
