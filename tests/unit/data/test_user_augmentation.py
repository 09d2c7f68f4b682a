"""`--augment-with`: what a user's callable gets, what may come back, and what is said when it is something else."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from accel_yolo.data.user_augmentation import UserAugmentation, load_augmentation
from accel_yolo.errors import ConfigError

HEIGHT, WIDTH = 40, 64
LABELS = np.array([[1, 0.25, 0.5, 0.2, 0.4], [0, 0.8, 0.3, 0.1, 0.2]], dtype=np.float32)

SOURCE = """
import sys
import random

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

seen = {}
nothing = v2.Identity()
flip = v2.RandomHorizontalFlip(p=1.0)
sometimes = v2.RandomHorizontalFlip(p=0.5)
away = v2.RandomAffine(0, translate=(0.9, 0.9))
bigger = v2.Resize((80, 128))
floats = v2.ToDtype(torch.float32)
number = 3

class Kind:
    def act(self, image, target):
        return image, target

kind = Kind()

def watch(image, target):
    seen.update(image=image, target=target)
    return image, target

def keyed(image, target, generator):
    seen.update(drawn=torch.rand(3, generator=generator).tolist())
    seen.update(globals=(torch.rand(1).item(), random.random(), np.random.random()))
    return image, target

def dark(image, target):
    return tv_tensors.Image(image // 2), {**target, "boxes": target["boxes"][:1], "labels": target["labels"][:1]}

def boxes_of(*rows):
    return lambda image, target: (image, {"boxes": torch.tensor(rows), "labels": torch.zeros(len(rows)).long()})

partly = boxes_of([-10.0, 5, 20, 15], [50, 30, 90, 90])
lost = boxes_of([5.0, 5, 5, 9], [9, 9, 3, 12], [70, 0, 90, 9], [-9, -9, -1, -1], [1, 1, 9, 9])
endless = boxes_of([float("nan"), 0, 1, 1])
flat = boxes_of([1.0, 2, 3])
one = lambda image, target: image
numpy = lambda image, target: (np.asarray(image), target)
listed = lambda image, target: (image, [target])
more = lambda image, target: (image, {**target, "labels": target["labels"] + 2})
fewer = lambda image, target: (image, {**target, "labels": target["labels"][1:]})
centred = lambda image, target: (image, {**target, "boxes": v2.ConvertBoundingBoxFormat("CXCYWH")(target["boxes"])})

leaving = lambda image, target: sys.exit(0)
halves = lambda image, target: (image, {**target, "boxes": target["boxes"].bfloat16()})
imaginary = lambda image, target: (image, {**target, "labels": target["labels"].to(torch.complex64)})
elsewhere = lambda image, target: (image.to("meta"), target)
learning = lambda image, target: (image, {**target, "boxes": target["boxes"].clone().requires_grad_()})

def broken(image, target):
    raise RuntimeError("no such\\nluck")
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a module of augmentations into the working folder and return its name, another one for each test."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


@pytest.fixture
def apply(module: str) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Return a function from the name of an augmentation to the image and the labels it makes of a sample."""

    def run(name: str, seed: int = 0, key: tuple[int, int] = (2, 5)) -> tuple[np.ndarray, np.ndarray]:
        image = sample_image()
        return image, UserAugmentation(f"{module}:{name}", 3, seed).apply(image, LABELS, key, "image a.png")

    return run


def sample_image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def test_it_gets_a_uint8_image_boxes_in_pixels_and_labels(apply: Callable, module: str) -> None:
    from torchvision import tv_tensors

    apply("watch")
    image, target = sys.modules[module].seen["image"], sys.modules[module].seen["target"]
    assert isinstance(image, tv_tensors.Image) and image.dtype == torch.uint8
    assert np.array_equal(np.asarray(image), sample_image().transpose(2, 0, 1))
    boxes = target["boxes"]
    assert isinstance(boxes, tv_tensors.BoundingBoxes) and boxes.format.value == "XYXY"
    assert tuple(boxes.canvas_size) == (HEIGHT, WIDTH)
    np.testing.assert_allclose(np.asarray(boxes), [[9.6, 12, 22.4, 28], [48, 8, 54.4, 16]], rtol=1e-6)
    assert target["labels"].dtype == torch.int64 and target["labels"].tolist() == [1, 0]


def test_one_that_changes_nothing_changes_nothing(apply: Callable) -> None:
    image, labels = apply("nothing")
    assert np.array_equal(image, sample_image())
    np.testing.assert_allclose(labels, LABELS, atol=1e-6)
    assert labels.dtype == np.float32


def test_image_and_boxes_are_taken_over(apply: Callable) -> None:
    image, labels = apply("flip")
    assert np.array_equal(image, sample_image()[:, ::-1])
    mirrored = LABELS * np.array([1, -1, 1, 1, 1]) + np.array([0, 1, 0, 0, 0])
    np.testing.assert_allclose(labels, mirrored, atol=1e-6)
    image, labels = apply("dark")
    assert np.array_equal(image, sample_image() // 2)
    np.testing.assert_allclose(labels, LABELS[:1], atol=1e-6)


@pytest.mark.parametrize("name", ["halves", "learning"])
def test_boxes_of_any_real_type_are_taken(apply: Callable, name: str) -> None:
    assert apply(name)[1] == pytest.approx(LABELS, abs=0.02)


def test_a_method_of_an_object_can_be_named(apply: Callable) -> None:
    np.testing.assert_allclose(apply("kind.act")[1], LABELS, atol=1e-6)


def test_boxes_are_cut_to_the_image_and_dropped_where_nothing_is_left(apply: Callable) -> None:
    _, labels = apply("partly")
    expected = [[0, 10 / 64, 10 / 40, 20 / 64, 10 / 40], [0, 57 / 64, 35 / 40, 14 / 64, 10 / 40]]
    np.testing.assert_allclose(labels, expected, atol=1e-4)
    assert (labels[:, 1:3] + labels[:, 3:] / 2 < 1).all(), "no corner on the border"
    _, labels = apply("lost")
    np.testing.assert_allclose(labels, [[0, 5 / 64, 5 / 40, 8 / 64, 8 / 40]], atol=1e-6)


def test_what_is_drawn_is_keyed_by_seed_epoch_and_position(apply: Callable, module: str) -> None:
    keys = [(0, (2, 5)), (0, (2, 6)), (0, (3, 5)), (1, (2, 5))]
    drawn = []
    for seed, key in keys + keys[::-1]:
        torch.rand(3), random.random(), np.random.random()
        apply("keyed", seed, key)
        drawn.append((tuple(sys.modules[module].seen["drawn"]), sys.modules[module].seen["globals"]))
    assert drawn[:4] == drawn[:3:-1]
    assert len(set(drawn)) == 4
    assert drawn[0][0][0] != drawn[0][1][0], "the generator and the global one are not the same"
    flipped = {bool((apply("sometimes", 0, (0, position))[0] != sample_image()).any()) for position in range(20)}
    assert flipped == {True, False}


def test_global_generators_are_left_where_they_were(apply: Callable) -> None:
    def states() -> tuple:
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()

    before = states()
    for name in ("keyed", "sometimes"):
        apply(name)
    with pytest.raises(ConfigError):
        apply("broken")
    assert states() == before


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("broken", "the augmentation failed in --augment-with {}:broken, image a.png: RuntimeError: no such luck"),
        ("bigger", "needs a uint8 image [3, 40, 64], not torch.uint8 [3, 80, 128]"),
        ("floats", "needs a uint8 image [3, 40, 64], not torch.float32 [3, 40, 64]"),
        (
            "one",
            "something else than a sample in --augment-with {}:one, image a.png: needs (image, target), not a",
        ),
        ("numpy", "needs a uint8 image [3, 40, 64], not a ndarray"),
        ("listed", "needs a target with the tensors 'boxes' and 'labels'"),
        ("more", "needs whole labels from 0 to 2"),
        ("fewer", "needs boxes [k, 4] and labels [k], not [2, 4] and [1]"),
        ("flat", "needs boxes [k, 4] and labels [k], not [1, 3] and [1]"),
        ("endless", "needs boxes that are finite"),
        ("centred", "needs boxes as XYXY, not CXCYWH"),
        ("leaving", "the augmentation failed in --augment-with {}:leaving, image a.png: SystemExit: 0"),
        ("imaginary", "needs boxes and labels of real numbers"),
        ("elsewhere", "something else than a sample in --augment-with {}:elsewhere, image a.png: "),
    ],
)
def test_what_goes_wrong_is_one_line_with_callable_and_sample(
    apply: Callable, module: str, name: str, line: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        apply(name)
    assert line.format(module) in str(raised.value)
    assert "\n" not in str(raised.value) and f"{module}:{name}, image a.png" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere:f", "cannot import the augmentation in --augment-with: nowhere:f; ModuleNotFoundError: No module"),
        ("{}:flop", "no such augmentation in --augment-with: {}:flop; did you mean 'flip'?"),
        ("{}:kind.ac", "did you mean 'act'?"),
        ("{}:number", "cannot be called with a sample in --augment-with: {}:number; it is a int"),
        ("{}:Kind", "cannot be called with a sample in --augment-with: {}:Kind; it is a class: name an object"),
        ("{}_gone:f", "cannot import the augmentation in --augment-with: {}_gone:f; SystemExit: 0"),
        ("{}_bad:f", "cannot import the augmentation in --augment-with: {}_bad:f; ZeroDivisionError: division by zero"),
    ],
)
def test_a_path_that_leads_nowhere_is_said_before_anything_starts(module: str, name: str, words: str) -> None:
    Path(f"{module}_bad.py").write_text("1 / 0\n")
    Path(f"{module}_gone.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(ConfigError) as raised:
        load_augmentation(name.format(module))
    assert words.format(module) in str(raised.value)
