"""Curves, confusion matrix and study as pictures and tables: nothing cut off, nothing said that is not so."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from accel_yolo.metrics.average_precision import AveragePrecision, average_precision
from accel_yolo.metrics.confusion import Confusion
from accel_yolo.reports.confusion_plot import confusion_figure, write_confusion
from accel_yolo.reports.curves import curve_figure, curves_of, plot_curves, write_curves
from accel_yolo.reports.study import StudyRow, model_names, study_figure, write_study

PNG = b"\x89PNG"
LONG = "traffic light for bicycles and pedestrians"


def evaluation(classes: int, seed: int = 0) -> AveragePrecision:
    rng = np.random.default_rng(seed)
    correct = rng.random((600, 10)) < np.linspace(0.8, 0.2, 10)
    confidence = np.where(correct[:, 0], rng.beta(3, 1.5, 600), rng.beta(1.2, 4, 600))
    labels = np.concatenate((np.arange(classes), rng.integers(0, classes, 900)))
    return average_precision(correct, confidence, rng.integers(0, classes, 600), labels)


def names_of(classes: int) -> list[str]:
    return [LONG, "$x_{1}$", "cat, wild", *(f"class {number}" for number in range(3, classes))][:classes]


def visible(figure: Figure) -> Iterator[Text]:
    """Yield every text of the first axes that is shown, after checking that it lies inside the figure."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    axes = figure.axes[0]
    legend = axes.get_legend()
    texts = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts, *(legend.get_texts() if legend else ())]
    for axis, (one, other) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        low, high = sorted((one, other))  # that of an image runs downwards
        texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    for text in filter(Text.get_text, texts):
        box = text.get_window_extent(renderer)
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
        assert inside, f"{text.get_text()!r} is cut off"
        yield text


def legend_of(figure: Figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    assert legend is not None
    shown = [text.get_text() for text in visible(figure)]
    entries = [text.get_text() for text in legend.get_texts()]
    assert set(entries) <= set(shown)
    return entries


def test_there_are_four_curves_with_the_files_of_the_reference(tmp_path: Path) -> None:
    write_curves(tmp_path, evaluation(3), dict(enumerate(names_of(3))))
    plot_curves(tmp_path, evaluation(3), dict(enumerate(names_of(3))))
    stems = {"PR_curve", "F1_curve", "P_curve", "R_curve"}
    assert {path.name for path in tmp_path.iterdir()} == {f"{stem}.{kind}" for stem in stems for kind in ("csv", "png")}
    assert all((tmp_path / f"{stem}.png").read_bytes().startswith(PNG) for stem in stems)


@pytest.mark.parametrize("classes", [2, 20])
def test_up_to_twenty_classes_are_named_with_their_value(classes: int) -> None:
    ap, names = evaluation(classes), names_of(classes)
    shown = list(zip(curves_of(ap), (ap.ap[:, 0], ap.f1, ap.precision, ap.recall), strict=True))
    for curve, values in shown if classes < 10 else shown[1:2]:
        entries = legend_of(curve_figure(curve, names))
        assert entries[0].startswith("traffic light for bicyc… ")
        assert [float(entry.split()[-1]) for entry in entries[:classes]] == pytest.approx(values.tolist(), abs=5e-4)
        assert entries[classes].startswith("all classes ")
        assert len(entries) == classes + (1 if curve.stem == "PR_curve" else 2)


def test_more_classes_are_lines_without_names() -> None:
    ap = evaluation(30)
    precision_recall, f1, *_ = curves_of(ap)
    assert legend_of(curve_figure(precision_recall, names_of(30))) == [
        "each of 30 classes",
        f"all classes mAP50 {ap.map50:.3f}",
    ]
    best = f"{ap.best_confidence:.3f}"
    overall = f"all classes {ap.f1.mean():.3f} at {best}"
    assert legend_of(curve_figure(f1, names_of(30))) == ["each of 30 classes", overall, f"best F1: {best}"]


def test_a_single_class_is_not_drawn_twice() -> None:
    (precision_recall, *_) = curves_of(evaluation(1))
    assert len(legend_of(curve_figure(precision_recall, ["wheat"]))) == 1


def test_without_labels_there_is_nothing_to_draw(tmp_path: Path) -> None:
    none = average_precision(np.zeros((3, 10), bool), np.ones(3), np.zeros(3), np.zeros(0))
    write_curves(tmp_path, none, {0: "a"})
    plot_curves(tmp_path, none, {0: "a"})
    assert list(tmp_path.iterdir()) == []


def test_the_table_of_a_curve_holds_its_numbers(tmp_path: Path) -> None:
    ap = evaluation(3)
    write_curves(tmp_path, ap, dict(enumerate(names_of(3))))
    with (tmp_path / "P_curve.csv").open(newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["confidence", "all classes", LONG, "$x_{1}$", "cat, wild"]
    table = np.array(rows, dtype=float)
    np.testing.assert_allclose(table[:, 0], ap.confidence, atol=1e-5)
    np.testing.assert_allclose(table[:, 2:], ap.precision_curve.T, atol=1e-5)
    at_best = table[np.abs(table[:, 0] - ap.best_confidence).argmin(), 1]
    assert at_best == pytest.approx(ap.mean_precision, abs=1e-4)


def matrix(classes: int, seed: int = 0) -> Confusion:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 3, (classes + 1, classes + 1))
    counts[np.arange(classes), np.arange(classes)] += 20
    counts[-1, -1] = 0
    return Confusion(counts)


@pytest.mark.parametrize(("classes", "cells", "lines"), [(2, True, 2), (13, True, 1), (30, False, 0)])
def test_cells_say_their_share_and_of_few_classes_their_count(classes: int, cells: bool, lines: int) -> None:
    confusion = matrix(classes)
    figure = confusion_figure(confusion, dict(enumerate(names_of(classes))))
    assert all(text for text in visible(figure))
    texts = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert bool(texts) == cells
    if cells:
        written = texts[1, 1].split("\n")
        assert len(written) == lines
        assert float(written[0]) == pytest.approx(confusion.shares[1, 1], abs=5e-3)
        assert lines == 1 or int(written[1]) == confusion.counts[1, 1]
        assert len(texts) == (confusion.shares >= 0.005).sum()


def ticks_of(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_xticklabels()]


def test_axes_are_named_up_to_99_classes_background_last() -> None:
    assert ticks_of(confusion_figure(matrix(3), {0: "a", 1: "b"})) == ["a", "b", "2", "background"]
    assert ticks_of(confusion_figure(matrix(99), {}))[-2:] == ["98", "background"]
    assert "background" not in ticks_of(confusion_figure(matrix(100), {}))


def test_classes_that_never_come_are_left_out_of_the_picture_but_not_of_the_table(tmp_path: Path) -> None:
    counts = matrix(4).counts.copy()
    counts[1], counts[:, 1] = 0, 0
    confusion, names = Confusion(counts), dict(enumerate("abcd"))
    assert ticks_of(confusion_figure(confusion, names)) == ["a", "c", "d", "background"]
    write_confusion(tmp_path, confusion, names)
    with (tmp_path / "confusion_matrix.csv").open(newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header[1:] == ["a", "b", "c", "d", "background"] == [row[0] for row in rows]
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], dtype=int), counts)
    with (tmp_path / "confusion_matrix_normalized.csv").open(newline="") as stream:
        shares = np.array([row[1:] for row in list(csv.reader(stream))[1:]], dtype=float)
    np.testing.assert_allclose(shares, confusion.shares, rtol=1e-3)


ROWS = [
    StudyRow("runs/exp/weights/best.pt", 320, 0.5, 0.4, 0.45, 0.3, 0.5, 10.0, 1.0),
    StudyRow("runs/exp/weights/best.pt", 640, 0.6, 0.5, 0.55, 0.4, 0.5, 40.0, 2.0),
    StudyRow("runs/exp2/weights/best.pt", 640, 0.7, 0.6, 0.65, 0.5, 0.5, 60.0, 2.0),
]


def test_a_study_is_a_table_and_ten_columns_for_each_model(tmp_path: Path) -> None:
    write_study(tmp_path, ROWS, "coco128")
    with (tmp_path / "study.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["imgsz"], row["map50_95"], row["ms"]) for row in rows] == [
        ("320", "0.3", "11.5"), ("640", "0.4", "42.5"), ("640", "0.5", "62.5"),
    ]  # fmt: skip
    text = np.loadtxt(tmp_path / "study_coco128_exp-weights-best.txt")
    np.testing.assert_allclose(text[1], [0.6, 0.5, 0.55, 0.4, 0, 0, 0, 0.5, 40, 2])
    assert len(list(tmp_path.glob("*.txt"))) == 2


def test_models_of_one_file_name_are_told_apart_by_their_folders() -> None:
    assert model_names(["a/yolov5n.pt", "a/yolov5s.pt"]) == {"a/yolov5n.pt": "yolov5n", "a/yolov5s.pt": "yolov5s"}
    assert list(model_names([row.weights for row in ROWS]).values()) == ["exp/weights/best", "exp2/weights/best"]


def test_each_model_is_a_line_over_time_with_its_sizes_beside_it() -> None:
    figure = study_figure(ROWS, "cpu")
    assert legend_of(figure) == ["exp/weights/best", "exp2/weights/best"]
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["320", "640", "640"]
    assert axes.lines[0].get_xydata().tolist() == [[11.5, 0.3], [42.5, 0.4]]
    assert legend_of(study_figure([replace(ROWS[0], weights="yolov5n.pt")], "cuda:0")) == ["yolov5n"]
