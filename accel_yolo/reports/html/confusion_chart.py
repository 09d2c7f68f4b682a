"""The confusion matrix as a picture whose cells say what they are."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from markupsafe import Markup

from accel_yolo.errors import escaped
from accel_yolo.reports.html.run import ConfusionTable
from accel_yolo.reports.html.svg import add, drawing, markup, path_of
from accel_yolo.reports.html.theme import BLACK, DARK, LIGHT, WHITE, ink
from accel_yolo.reports.html.wording import count, plain

LEAST_SHARE = 0.005
"""Cells with less stay empty, as in confusion_matrix.png."""
MOST_WRITTEN, MOST_NAMED, MOST_CELLS = 16, 100, 4000
"""Up to so many classes cells show their share, and axes their names; so many cells are drawn, the largest."""
LEAST_WRITTEN_PX, LEAST_NAMED_PX, MOST_NAMED_PX = 30, 12.5, 22
WIDEST_PX = 1180
MISSED, MADE_UP = "nothing: missed", "nothing: made up"
"""What the last row and the last column are: objects without a detection, detections without an object."""
_INKS = {BLACK: "b", WHITE: "w"}
_LETTER = 0.58
_LONGEST = 18


@dataclass(frozen=True)
class _Sizes:
    cell: float
    font: float
    left: float
    top: float


def confusion_chart(table: ConfusionTable) -> Markup:
    """Return the picture of the matrix: each column in shares of its true class; classes that never occur are left
    out."""
    kept = _kept(table)
    names = [*(table.names[place] for place in kept[:-1]), MADE_UP]
    sizes = _sizes(names)
    side = sizes.cell * len(kept)
    width, height = sizes.left + side + 8, sizes.top + side + 8
    rows, columns = [*names[:-1], MISSED], [*names[:-1], MADE_UP]
    picture = drawing(width, height, _spoken(table), class_="chart", style=f"width:{width:.0f}px;max-width:none")
    _draw_names(picture, rows, columns, sizes)
    for place in range(len(kept) + 1):
        at_x, at_y = sizes.left + place * sizes.cell, sizes.top + place * sizes.cell
        add(picture, "path", d=path_of([(at_x, sizes.top), (at_x, sizes.top + side)]), class_="grid")
        add(picture, "path", d=path_of([(sizes.left, at_y), (sizes.left + side, at_y)]), class_="grid")
    for share, row, column, number in _cells(table, kept):
        _draw_cell(picture, sizes, (row, column), share, f"true {columns[column]}, predicted {rows[row]}: ", number)
    return markup(picture)


def _kept(table: ConfusionTable) -> list[int]:
    """Return the places of the classes that were labelled or predicted, and of the background, the last."""
    last = len(table.names) - 1
    occurs = [sum(table.counts[place]) + sum(row[place] for row in table.counts) > 0 for place in range(last)]
    return [*(place for place in range(last) if occurs[place]), last]


def _cells(table: ConfusionTable, kept: list[int]) -> list[tuple[float, int, int, float]]:
    """Return share, row, column and count of every cell that is drawn."""
    totals = [sum(row[place] for row in table.counts) for place in kept]
    cells = [
        (number / totals[column], row, column, number)
        for row, real_row in enumerate(kept)
        for column, real_column in enumerate(kept)
        if (number := table.counts[real_row][real_column]) and number / totals[column] >= LEAST_SHARE
    ]
    return sorted(cells, reverse=True)[:MOST_CELLS]


def _sizes(names: list[str]) -> _Sizes:
    many = len(names)
    cell, font = (40.0, 12.0) if many <= 8 else (34.0, 12.0) if many <= MOST_WRITTEN else (0.0, 11.0)
    if many - 1 > MOST_NAMED:
        return _Sizes(max(3.0, 1000 / many), 12.0, 28.0, 28.0)
    room = max(len(_short(name)) for name in names) * font * _LETTER + 34
    # As wide as the page, where names can still be read.
    cell = cell or min(max((WIDEST_PX - room) / many, LEAST_NAMED_PX), MOST_NAMED_PX)
    font = min(font, cell - 2.5)
    return _Sizes(cell, font, room, room)


def _draw_names(picture: Element, rows: list[str], columns: list[str], sizes: _Sizes) -> None:
    side = sizes.cell * len(rows)
    at = sizes.left + side / 2
    add(picture, "text", "true", x=at, y=14, class_="label", text_anchor="middle")
    turned = f"translate(12 {sizes.top + side / 2:.1f}) rotate(-90)"
    add(picture, "text", "predicted", class_="label", text_anchor="middle", transform=turned)
    if len(rows) - 1 > MOST_NAMED:
        return
    for place, (name, other) in enumerate(zip(rows, columns, strict=True)):
        along = sizes.top + (place + 0.5) * sizes.cell + sizes.font * 0.35
        row = add(picture, "text", _short(name), x=sizes.left - 6, y=along, class_="tick", text_anchor="end")
        across = sizes.left + (place + 0.5) * sizes.cell + sizes.font * 0.35
        turned = f"rotate(-90 {across:.1f} {sizes.top - 6:.1f})"
        column = add(picture, "text", _short(other), x=across, y=sizes.top - 6, class_="tick", transform=turned)
        for text in (row, column):
            text.set("style", f"font-size:{sizes.font:g}px")


def _short(name: str) -> str:
    shown = escaped(name)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def _draw_cell(picture: Element, sizes: _Sizes, place: tuple[int, int], share: float, pair: str, number: float) -> None:
    row, column = place
    x, y = sizes.left + column * sizes.cell, sizes.top + row * sizes.cell
    # The eye sees areas of little colour as empty: the square root makes rare mistakes visible.
    strength = 0.12 + 0.88 * share**0.7
    cell = add(picture, "g", class_="cell")
    inset, side = 0.5, sizes.cell - 1
    add(cell, "rect", x=x + inset, y=y + inset, width=side, height=side, fill_opacity=f"{strength:.2f}")
    if sizes.cell >= LEAST_WRITTEN_PX:
        inks = [f"{theme}{_INKS[ink(palette, strength)]}" for theme, palette in (("l", LIGHT), ("d", DARK))]
        middle_x, middle_y = x + sizes.cell / 2, y + sizes.cell / 2 + 4
        text = add(cell, "text", f"{share:.2f}", x=middle_x, y=middle_y, class_=" ".join(inks))
        text.set("text-anchor", "middle")
    add(cell, "title", f"{pair}{share:.2f} ({plain(number)})")


def _spoken(table: ConfusionTable) -> str:
    diagonal = sum(table.counts[place][place] for place in range(len(table.names) - 1))
    labelled = sum(sum(row[:-1]) for row in table.counts)
    classes = count(len(table.names) - 1, "class", "classes")
    return f"Confusion matrix of {classes}: {plain(diagonal)} of {plain(labelled)} objects found with the right name."
