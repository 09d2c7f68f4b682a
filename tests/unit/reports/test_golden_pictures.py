"""Pictures look as they did when somebody looked at them; `python tests/golden_pictures.py` renews the copies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import golden_pictures
import numpy as np
import pytest
from golden_pictures import (
    FOLDER,
    MOST,
    NAMES,
    Picture,
    coco_pictures,
    demo_pictures,
    demo_split,
    detections_of,
    distance,
    figure_pixels,
    golden,
    results_columns,
)
from matplotlib.figure import Figure

from accel_yolo.inference.output.batch_sheet import prediction_sheet
from accel_yolo.reports import results_plot
from accel_yolo.reports.results_plot import results_figure

DEMO = ("demo_labels", "demo_correlogram", "demo_results", "demo_train_batch")
COCO = ("coco128_labels", "coco128_val_labels", "coco128_val_pred")


@pytest.fixture(scope="module")
def of_demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Picture]:
    return demo_pictures(tmp_path_factory.mktemp("demo"))


def test_every_copy_is_compared() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {*DEMO, *COCO}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 300_000


@pytest.mark.parametrize("name", DEMO)
def test_pictures_of_the_demo_set_look_as_they_should(name: str, of_demo: dict[str, Picture]) -> None:
    assert distance(of_demo[name](), golden(name)) < MOST


def test_pictures_of_80_classes_look_as_they_should(coco128: Path, tmp_path: Path) -> None:
    pictures = coco_pictures(tmp_path, coco128)
    for name in COCO:
        assert distance(pictures[name](), golden(name)) < MOST, name


def without_legend(figure: Figure) -> None:
    for axes in figure.axes:
        if axes.get_legend() is not None:
            axes.get_legend().remove()  # pyright: ignore


def in_another_colour(figure: Figure) -> None:
    figure.axes[4].lines[0].set_color("#c33b22")


def without_a_line(figure: Figure) -> None:
    figure.axes[0].lines[0].remove()


def without_a_title(figure: Figure) -> None:
    figure.axes[1].set_title("")


@pytest.mark.parametrize("spoil", [without_legend, in_another_colour, without_a_line, without_a_title])
def test_a_spoilt_figure_is_told_from_its_copy(spoil: Callable[[Figure], None], tmp_path: Path) -> None:
    figure = results_figure(results_columns(30))
    spoil(figure)
    assert distance(figure_pixels(figure, tmp_path), golden("demo_results")) > 1.5 * MOST


@pytest.mark.parametrize("shift_px", [6.0, 12.0])
def test_shifted_boxes_are_told_from_right_ones(shift_px: float, tmp_path: Path) -> None:
    index = demo_split(tmp_path, 4)
    right = golden_pictures.reduced(prediction_sheet(index, detections_of(index), NAMES))
    assert distance(prediction_sheet(index, detections_of(index, shift_px), NAMES), right) > 1.5 * MOST


def test_another_rendering_of_text_is_no_difference(tmp_path: Path) -> None:
    """Half a pixel to the side and another smoothing of edges: what one matplotlib changes against another."""
    picture = figure_pixels(results_figure(results_columns(30)), tmp_path)
    moved = cv2.warpAffine(
        picture, np.array([[1, 0, 0.5], [0, 1, 0.5]], np.float32), picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE
    )
    assert distance(moved, golden("demo_results")) < MOST / 2


@pytest.mark.parametrize("epochs", [1, 3, 300])
def test_results_of_any_length_are_drawn_and_what_is_unknown_is_left_out(epochs: int) -> None:
    columns = results_columns(epochs)
    figure = results_figure(columns)
    loss = figure.axes[0]
    known = np.isfinite(columns["val/box_loss"])
    np.testing.assert_array_equal(loss.lines[0].get_xdata(), columns["epoch"] + 1)
    val = next(line for line in loss.lines if str(line.get_label()).startswith("val "))
    np.testing.assert_array_equal(val.get_xdata(), columns["epoch"][known] + 1)
    assert loss.lines[0].get_marker() == ("o" if epochs <= 40 else "")
    dotted = [line for line in loss.lines if line.get_linestyle() == ":"]
    assert len(dotted) == (2 if epochs == 300 else 0)
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None and len(legend.get_texts()) >= 2


def test_a_line_stays_a_line_when_it_is_smoothed() -> None:
    np.testing.assert_allclose(results_plot.smoothed(np.linspace(3, 1, 20)), np.linspace(3, 1, 20), atol=1e-12)


def test_without_an_epoch_nothing_is_drawn(tmp_path: Path) -> None:
    assert results_plot.plot_results(tmp_path) == []
    (tmp_path / "results.csv").write_text("epoch\n")
    assert results_plot.plot_results(tmp_path) == []
