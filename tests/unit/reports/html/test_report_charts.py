"""Charts and colours of reports: round ticks, lines that are told apart, text that can be read."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest

from accel_yolo.reports.html.confusion_chart import confusion_chart
from accel_yolo.reports.html.line_chart import STYLES, Line, LineChart, swatch, thinned
from accel_yolo.reports.html.run import ConfusionTable
from accel_yolo.reports.html.svg import tick_text, ticks
from accel_yolo.reports.html.theme import DARK, LIGHT, contrast, ink, mixed
from accel_yolo.reports.html.wording import duration, rate, share, signed


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (0, 1, False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.07, 0.11, False, [0.07, 0.08, 0.09, 0.1, 0.11]),
        (1, 3, True, [1, 2, 3]),
        (1, 300, True, [100, 200, 300]),
        (-0.4, 0.4, False, [-0.4, -0.2, 0, 0.2, 0.4]),
        (2, 2, False, [2]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, whole: bool, expected: list[float]) -> None:
    assert ticks(low, high, whole=whole) == pytest.approx(expected)


def test_labels_of_ticks_are_short() -> None:
    values = (0, 0.2, 0.30000000000000004, 1e-4, 0.00025, 12345.0, 2e5)
    assert [tick_text(value) for value in values] == ["0", "0.2", "0.3", "1e-4", "2.5e-4", "12345", "2e5"]


def chart_of(*lines: Line, **options: object) -> LineChart:
    places = [float(place) for place in range(len(lines[0].y))]
    return LineChart("Loss", ("epoch", ""), places, lines, **options)  # pyright: ignore[reportArgumentType]


def drawn(chart: LineChart) -> ElementTree.Element:
    return ElementTree.fromstring(str(chart.drawn()))


def test_a_line_goes_on_over_epochs_without_a_number() -> None:
    picture = drawn(chart_of(Line("a", [1.0, None, 3.0, None])))
    (line,) = [path for path in picture.iter("path") if path.get("class") == "line s0"]
    assert len(re.findall("[ML]", line.get("d", ""))) == 2
    assert len([path for path in picture.iter("path") if path.get("class") == "dot s0"]) == 2


def test_every_place_says_its_numbers_and_the_whole_is_told_to_who_cannot_see_it() -> None:
    picture = drawn(chart_of(Line("one", [1.0, 2.0]), Line("two", [None, 4.0], 1), x_name="epoch"))
    titles = [bar.findtext("title") for bar in picture.iter("rect")]
    assert titles == ["epoch 0\none: 1", "epoch 1\none: 2\ntwo: 4"]
    assert picture.get("aria-label") == "Loss over epoch: one from 1 to 2, two from 4 to 4."


def test_everything_that_is_drawn_lies_in_the_picture() -> None:
    picture = drawn(chart_of(Line("a", [1e-9, 5e6, -3.0]), marks=[(1.0, "best")]))
    _, _, width, height = map(float, picture.get("viewBox", "").split())
    for path in picture.iter("path"):
        points = re.findall(r"[ML](-?[\d.]+),(-?[\d.]+)", path.get("d", "")) if not path.get("transform") else []
        assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in points)


def test_lines_are_told_apart_without_their_colours() -> None:
    pieces = [ElementTree.fromstring(str(swatch(style))) for style in range(STYLES)]
    looks = {tuple((p.get("stroke-dasharray"), p.get("d")) for p in piece.iter("path")) for piece in pieces}
    assert len(looks) == STYLES


def test_a_curve_of_a_thousand_points_keeps_its_ends() -> None:
    x = [place / 999 for place in range(1000)]
    kept = thinned(x, 100)(x)
    assert len(kept) <= 102 and (kept[0], kept[-1]) == (0, 1)
    assert thinned([1.0], 100)([5.0]) == [5.0]


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_is_read_on_whatever_it_stands_on(palette: dict[str, str]) -> None:
    for name, place in itertools.product(("text", "soft", "accent", "good", "warn", "bad"), ("page", "card", "faint")):
        assert contrast(palette[name], palette[place]) >= 4.5, f"{name} on {place}"
    bar = mixed(palette["accent"], palette["card"], 0.2)
    assert contrast(palette["text"], bar) >= 4.5
    for step in range(101):
        cell = mixed(palette["cell"], palette["card"], step / 100)
        assert contrast(ink(palette, step / 100), cell) >= 4.5


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_lines_and_parts_are_seen(palette: dict[str, str]) -> None:
    drawn_with = [name for name in palette if name.startswith("series-")]
    assert len(drawn_with) == STYLES
    for name in drawn_with:
        assert contrast(palette[name], palette["card"]) >= 3, name


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_cells_of_the_confusion_matrix_say_what_they_are_and_empty_classes_are_left_out() -> None:
    counts = [[8.0, 1.0, 0.0, 2.0], [0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]]
    picture = ElementTree.fromstring(str(confusion_chart(ConfusionTable(["cat", "dog", "cow", "background"], counts))))
    assert {title.text for title in picture.iter("title")} == {
        "true cat, predicted cat: 0.80 (8)",
        "true dog, predicted cat: 0.25 (1)",
        "true dog, predicted dog: 0.75 (3)",
        "true cat, predicted nothing: missed: 0.20 (2)",
        "true nothing: made up, predicted cat: 1.00 (2)",
    }
    assert "cow" not in {text.text for text in picture.iter("text")}
    assert picture.get("aria-label") == "Confusion matrix of 3 classes: 11 of 14 objects found with the right name."


def test_a_matrix_of_hundreds_of_classes_stays_small() -> None:
    side = 366
    counts = [[float(row == column or (row * column) % 7 == 0) for column in range(side)] for row in range(side)]
    assert len(confusion_chart(ConfusionTable([f"class {n}" for n in range(side)], counts))) < 1_500_000


def test_numbers_are_said_shortly() -> None:
    assert [duration(s) for s in (0.04, 9.94, 59, 60, 3599.7, 3661, 90_000, None)] == [
        "0.0 s", "9.9 s", "59 s", "1 min 00 s", "1 h 00 min", "1 h 01 min", "1 d 1 h", "–",
    ]  # fmt: skip
    assert [share(s) for s in (0.0, 0.004, 0.5, None)] == ["0%", "0.4%", "50%", "–"]
    assert [rate(r) for r in (5.06, 250.4)] == ["5.1", "250"]
    assert [signed(v) for v in (0.25, -0.25, -0.0001)] == ["+0.250", "−0.250", "0.000"]
