"""Small copies of pictures as they should look, and how far a picture may be from its copy.

Run as a program, it draws the copies anew (ACCEL_YOLO_REFERENCE must name the folder of real images); look at them, and
at the pictures, before you commit them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.data import demo
from accel_yolo.data.formats.record import Labels
from accel_yolo.data.index import build_index
from accel_yolo.data.keyed_plans import Key
from accel_yolo.data.split_index import Record, SplitIndex, assemble, part_of
from accel_yolo.data.statistics import sizes_px
from accel_yolo.data.subsets import some_images
from accel_yolo.engine.loaders import host_samples, plan_source
from accel_yolo.inference.output.batch_sheet import label_sheet, prediction_sheet, train_sheet
from accel_yolo.reports.data_plot import correlogram_figure, split_figure
from accel_yolo.reports.figures import save_figure
from accel_yolo.reports.results_plot import results_figure

FOLDER = Path(__file__).parent / "golden"
SMALLER, BLOCK, BLUR = 5, 4, 1.0
"""A copy is so many times smaller; differences are meaned over squares of so many of its pixels, after a blur.
"""
MOST = 10.0
"""Greatest mean difference of a square, of 255. Half a pixel to the side, as another matplotlib may draw, is 4; a
line of another colour 20, a missing line 27, a missing legend 40, boxes that are 3 pixels off 37."""

Picture = Callable[[], np.ndarray]


def reduced(picture: np.ndarray) -> np.ndarray:
    height, width = (round(side / SMALLER) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def distance(picture: np.ndarray, golden: np.ndarray) -> float:
    """Return how far a picture is from a golden copy: the greatest difference of a square; inf for another size."""
    small = reduced(picture)
    if any(abs(a - b) > 1 for a, b in zip(small.shape, golden.shape, strict=True)):
        return float("inf")
    small = cv2.resize(small, golden.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    apart = np.abs(cv2.GaussianBlur(small.astype(np.float32) - golden, (0, 0), BLUR)).mean(axis=2)
    height, width = (side // BLOCK * BLOCK for side in apart.shape)
    squares = apart[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return float(squares.mean(axis=(1, 3)).max())


def golden(name: str) -> np.ndarray:
    """Return a copy, RGB uint8."""
    return cv2.imread(str(FOLDER / f"{name}.png"))[..., ::-1]


def figure_pixels(figure: object, folder: Path, dpi: int = 110) -> np.ndarray:
    """Return a matplotlib figure as it is saved, RGB uint8."""
    save_figure(figure, folder / "figure.png", dpi)  # pyright: ignore[reportArgumentType]
    return cv2.imread(str(folder / "figure.png"))[..., ::-1]


def demo_split(folder: Path, images: int = 40) -> SplitIndex:
    """Return an index of the first images of the demo data set, drawn into a folder."""
    records = []
    for number in range(images):
        scene = demo.demo_scene("val", number)
        path = folder / f"val_{number:04d}.png"
        cv2.imwrite(str(path), scene.image[..., ::-1])
        rows = np.array(scene.boxes, np.float32).reshape(-1, 5)
        labels = Labels(rows, (np.zeros((0, 2), np.float32),) * len(rows))
        records.append(Record(str(path), scene.image.shape[:2], labels, True, bytes(16)))
    return assemble([part_of(records)], str(folder), dropped=0)


def results_columns(epochs: int) -> dict[str, np.ndarray]:
    """Return a training that went well, every third epoch of which was not validated."""
    rng, epoch = np.random.default_rng(0), np.arange(epochs, dtype=float)
    unknown = np.where(epoch % 3 == 1, np.nan, 0.0)
    columns = {"epoch": epoch}
    for name, size in (("box", 0.1), ("obj", 0.05), ("cls", 0.04)):
        columns[f"train/{name}_loss"] = size * (np.exp(-epoch / 12) + 0.25) + 0.03 * size * rng.random(epochs)
        columns[f"val/{name}_loss"] = columns[f"train/{name}_loss"] * 1.2 + unknown
    for name, best in (("precision", 0.8), ("recall", 0.7), ("mAP_0.5", 0.75), ("mAP_0.5:0.95", 0.5)):
        columns[f"metrics/{name}"] = best * (1 - np.exp(-(epoch + 1) / 8)) + unknown
    falling = 0.01 * (1 - 0.99 * epoch / max(epochs, 1))
    return {**columns, "x/lr0": falling + 0.09 * np.exp(-epoch), "x/lr1": falling, "x/lr2": falling}


NAMES = dict(enumerate(("circle", "square", "triangle", "star", "cross", "ring")))


def detections_of(index: SplitIndex, shift_px: float = 0.0) -> np.ndarray:
    """Return the labels as if they had been detected, less and less confident."""
    rows = index.labels_px()
    confidence = np.linspace(0.95, 0.2, len(rows))
    return np.column_stack((rows[:, 0], rows[:, 2:] + shift_px, confidence, rows[:, 1]))


def demo_pictures(folder: Path) -> dict[str, Picture]:
    """Return the pictures of the demo data set that have a copy, by name."""
    index = demo_split(folder)
    config = TrainConfig(cfg="yolov5n.yaml", imgsz=192, batch=8, hyp=Hyp(mosaic=0.5))
    samples = host_samples(config, index, plan_source(config, index, 32, 6), 6)
    names, keys = list(NAMES.values()), [Key(0, position) for position in range(4)]
    sizes = sizes_px(index, 192)
    return {
        "demo_labels": lambda: figure_pixels(split_figure("40 images", names, index.labels, sizes), folder),
        "demo_correlogram": lambda: figure_pixels(correlogram_figure("40 images", index.labels), folder),
        "demo_results": lambda: figure_pixels(results_figure(results_columns(30)), folder),
        "demo_train_batch": lambda: train_sheet(samples, keys, NAMES),
    }


def coco_pictures(folder: Path, data: Path) -> dict[str, Picture]:
    """Return the pictures of the 128 real images, of 80 classes, that have a copy, by name."""
    spec = load_data_spec(data)
    index = build_index(spec, "train", single_cls=False, bad_data="fail", workers=1)
    names, some = dict(spec.names), some_images(index, np.array([2, 11, 60, 84]))
    sizes = sizes_px(index, 640)
    listed = list(names.values())
    return {
        "coco128_labels": lambda: figure_pixels(split_figure("128 images", listed, index.labels, sizes), folder),
        "coco128_val_labels": lambda: label_sheet(some, names),
        "coco128_val_pred": lambda: prediction_sheet(some, detections_of(some), names),
    }


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        place, real = Path(made), Path(os.environ["ACCEL_YOLO_REFERENCE"]) / "data" / "coco128.yaml"
        FOLDER.mkdir(exist_ok=True)
        for title, draw in {**demo_pictures(place), **coco_pictures(place, real)}.items():
            small = reduced(draw())
            cv2.imwrite(str(FOLDER / f"{title}.png"), small[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
            print(title, small.shape, (FOLDER / f"{title}.png").stat().st_size // 1024, "KB")
