"""Lines over a common abscissa, with axes, a legend in words and a tooltip at every place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from markupsafe import Markup

from accel_yolo.errors import escaped
from accel_yolo.reports.html.svg import add, drawing, markup, path_of, tick_text, ticks
from accel_yolo.reports.html.wording import plain

WIDTH, HEIGHT = 400, 240
LEFT, RIGHT, TOP, BOTTOM = 50, 10, 8, 38
STYLES = 8
"""So many colours and dashes there are; `.s0` to `.s7` in the style sheet, `.grey` for lines without a name."""
MOST_MARKERS, MOST_TOOLTIPS = 30, 120
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 3", "1 3", "6 2 2 2 2 2")
_SHAPES = (
    "M-2.6,0a2.6,2.6 0 1,0 5.2,0a2.6,2.6 0 1,0 -5.2,0",
    "M-2.4,-2.4H2.4V2.4H-2.4Z",
    "M0,-3.3L3.1,2.3H-3.1Z",
    "M0,-3.3L3.3,0L0,3.3L-3.3,0Z",
)


@dataclass(frozen=True)
class Line:
    """One line: its name, a number or None at every abscissa, and its style, from 0 on; -1 is grey and unnamed."""

    name: str
    y: Sequence[float | None]
    style: int = 0


@dataclass(frozen=True)
class LineChart:
    """What is drawn.

    Attributes:
        title: above the picture.
        axes: what lies along x and y.
        x: ascending.
        lines: what is drawn, the last on top.
        y_limits: lowest and highest y; chosen from the numbers where None.
        marks: abscissas with a dotted line, and what it means.
        whole: abscissas are whole numbers.
        from_zero: the lowest y is 0.
        x_name: what an abscissa is in a tooltip.
    """

    title: str
    axes: tuple[str, str]
    x: Sequence[float]
    lines: Sequence[Line]
    y_limits: tuple[float, float] | None = None
    marks: Sequence[tuple[float, str]] = field(default=())
    whole: bool = False
    from_zero: bool = False
    x_name: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(value is not None for line in self.lines for value in line.y)

    @property
    def key(self) -> list[Line]:
        """The lines that have an entry in the legend."""
        return [line for line in self.lines if line.style >= 0]

    def drawn(self) -> Markup:
        """Return the picture, without title and legend."""
        return markup(_drawn(self))


@dataclass(frozen=True)
class _Frame:
    """From numbers to px."""

    x: tuple[float, float]
    y: tuple[float, float]

    def px(self, x: float) -> float:
        return LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)

    def py(self, y: float) -> float:
        return HEIGHT - BOTTOM - (y - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - TOP - BOTTOM)


def swatch(style: int) -> Markup:
    """Return the piece of a line that stands in a legend."""
    piece = drawing(26, 10, "", class_="swatch")
    del piece.attrib["aria-label"], piece.attrib["role"]
    piece.set("aria-hidden", "true")
    add(piece, "path", d="M0,5H26", class_=f"line s{style % STYLES}", **_dash(style))
    add(piece, "path", d=_SHAPES[style % len(_SHAPES)], transform="translate(13 5)", class_=f"dot s{style % STYLES}")
    return markup(piece)


def _drawn(chart: LineChart) -> Element:
    frame = _frame(chart)
    picture = drawing(WIDTH, HEIGHT, _spoken(chart), class_="chart")
    _draw_axes(picture, chart, frame)
    for place, meaning in chart.marks:
        mark = add(picture, "path", d=path_of([(frame.px(place), TOP), (frame.px(place), HEIGHT - BOTTOM)]))
        mark.set("class", "mark")
        add(mark, "title", meaning)
    for line in chart.lines:
        _draw_line(picture, chart, line, frame)
    _draw_tooltips(picture, chart, frame)
    return picture


def _frame(chart: LineChart) -> _Frame:
    left, right = (min(chart.x), max(chart.x)) if chart.x else (0.0, 1.0)
    if right <= left:
        left, right = left - 1, left + 1
    if chart.y_limits:
        return _Frame((left, right), chart.y_limits)
    values = [value for line in chart.lines for value in line.y if value is not None] or [0.0, 1.0]
    low, high = min(values), max(values)
    if chart.from_zero or 0 <= low < 0.5 * high:
        low = 0.0
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return _Frame((left, right), (low if low == 0 else low - room, high + room))


def _draw_axes(picture: Element, chart: LineChart, frame: _Frame) -> None:
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    for value in ticks(*frame.y):
        at = frame.py(value)
        add(picture, "path", d=path_of([(LEFT, at), (right, at)]), class_="grid")
        add(picture, "text", tick_text(value), x=LEFT - 6, y=at + 4, class_="tick", text_anchor="end")
    for value in ticks(*frame.x, most=6, whole=chart.whole):
        at = frame.px(value)
        add(picture, "path", d=path_of([(at, floor), (at, floor + 4)]), class_="axis")
        # A label at the very edge would be cut off.
        anchor = "end" if at > right - 8 else "middle"
        edge = min(at + 4, float(WIDTH)) if anchor == "end" else at
        add(picture, "text", tick_text(value), x=edge, y=floor + 17, class_="tick", text_anchor=anchor)
    add(picture, "path", d=path_of([(LEFT, floor), (right, floor)]), class_="axis")
    middle = (LEFT + right) / 2
    add(picture, "text", chart.axes[0], x=middle, y=HEIGHT - 4, class_="label", text_anchor="middle")
    if chart.axes[1]:
        at = (TOP + floor) / 2
        turned = f"rotate(-90 11 {at})"
        add(picture, "text", chart.axes[1], x=11, y=at, class_="label", text_anchor="middle", transform=turned)


def _draw_line(picture: Element, chart: LineChart, line: Line, frame: _Frame) -> None:
    points = [(frame.px(x), frame.py(y)) for x, y in zip(chart.x, line.y, strict=False) if y is not None]
    if not points:
        return
    low, high = frame.py(frame.y[0]), frame.py(frame.y[1])
    points = [(x, min(max(y, high), low)) for x, y in points]
    if line.style < 0:
        grey = add(picture, "path", d=path_of(points), class_="line grey")
        add(grey, "title", line.name)
        return
    name = f"s{line.style % STYLES}"
    add(picture, "path", d=path_of(points), class_=f"line {name}", **_dash(line.style))
    if len(points) <= MOST_MARKERS:
        shape = _SHAPES[line.style % len(_SHAPES)]
        for x, y in points:
            add(picture, "path", d=shape, transform=f"translate({x:.1f} {y:.1f})", class_=f"dot {name}")


def _draw_tooltips(picture: Element, chart: LineChart, frame: _Frame) -> None:
    """Add a bar over the whole height for each abscissa, which lights up and says the numbers there."""
    named = chart.key
    if not named or not chart.x:
        return
    step = math.ceil(len(chart.x) / MOST_TOOLTIPS)
    places = list(range(0, len(chart.x), step))
    centres = [frame.px(chart.x[place]) for place in places]
    middles = [(one + other) / 2 for one, other in zip(centres, centres[1:], strict=False)]
    edges = [float(LEFT), *middles, float(WIDTH - RIGHT)]
    for number, place in enumerate(places):
        left, right = edges[number], edges[number + 1]
        attributes = {"x": left, "y": TOP, "width": max(right - left, 0.0), "height": HEIGHT - TOP - BOTTOM}
        bar = add(picture, "rect", class_="hover", **attributes)
        said = [f"{line.name}: {plain(line.y[place])}" for line in named if line.y[place] is not None]
        add(bar, "title", f"{chart.x_name} {plain(chart.x[place])}".strip())
        # One line for each: what is escaped must not lose its newlines.
        bar[0].text = "\n".join([bar[0].text or "", *map(escaped, said)])


def _dash(style: int) -> dict[str, str]:
    dash = _DASHES[style % len(_DASHES)]
    return {"stroke_dasharray": dash} if dash else {}


def _spoken(chart: LineChart) -> str:
    """Return what the chart shows, for who cannot see it: where each line begins and ends."""
    said: list[str] = []
    for line in chart.key[:STYLES]:
        there = [value for value in line.y if value is not None]
        if there:
            said.append(f"{line.name} from {plain(there[0])} to {plain(there[-1])}")
    return f"{chart.title} over {chart.axes[0]}: {', '.join(said)}." if said else f"{chart.title}: no numbers."


def thinned(x: Sequence[float], most: int) -> Callable[[Sequence[float | None]], list[float | None]]:
    """Return a function that keeps at most about `most` places of a row as long as `x`, the first and last included."""
    step = max(1, math.ceil((len(x) - 1) / most)) if len(x) > 1 else 1
    places = list(range(0, len(x), step))
    if places and places[-1] != len(x) - 1:
        places.append(len(x) - 1)
    return lambda row: [row[place] for place in places]
