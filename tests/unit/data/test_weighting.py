"""Which images an epoch shows more often: the formulas, and draws that follow them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from accel_yolo.config.schema import Hyp
from accel_yolo.data.keyed_plans import Key, KeyedPlans
from accel_yolo.data.order import index_at
from accel_yolo.data.plan import PlanSource
from accel_yolo.data.weighting import WeightedDraw, by_average_precision, by_repeat_factor


@dataclass
class Table:
    """Labels of images, given as the classes of each."""

    labels: np.ndarray
    label_starts: np.ndarray

    @classmethod
    def of(cls, *images: list[int]) -> Table:
        classes = [kind for image in images for kind in image]
        return cls(np.array([[kind, 0.5, 0.5, 1, 1] for kind in classes]), np.cumsum([0, *map(len, images)]))

    def labels_of(self, image: int) -> np.ndarray:
        return self.labels[self.label_starts[image] : self.label_starts[image + 1]]

    def polygons_of(self, image: int) -> list[np.ndarray]:
        return [np.zeros((0, 2))] * len(self.labels_of(image))


TABLE = Table.of([0, 0, 0], [0, 1], [], [2], [0])


def test_image_weights_are_inverse_frequencies_times_what_is_missed_summed_over_objects() -> None:
    draw = by_average_precision(TABLE, (0.5, 0.0, 0.9, 0.0))
    rare, common, found = 1.0, 0.25 / 5, 0.1**2  # class 3 has no objects at all
    np.testing.assert_allclose(draw.weights, [3 * common, common + rare, 0, found, common], rtol=1e-12)
    assert not draw.even


def test_an_image_without_objects_is_never_drawn_and_the_others_as_often_as_they_weigh() -> None:
    draw = by_average_precision(TABLE, (0.0, 0.5, 0.2))
    counts = np.bincount(np.concatenate([draw.order(3, epoch) for epoch in range(4000)]), minlength=5)
    np.testing.assert_allclose(counts / counts.sum(), draw.weights / draw.weights.sum(), atol=0.01)
    assert counts[2] == 0


def test_when_nothing_is_missed_all_images_are_alike() -> None:
    assert by_average_precision(TABLE, (1.0, 1.0, 1.0)).weights.tolist() == [1] * 5


def test_repeat_factors_are_the_largest_of_the_classes_of_an_image() -> None:
    draw = by_repeat_factor(TABLE, 0.45)
    # Class 0 is in three of five images, classes 1 and 2 in one of five.
    rare = np.sqrt(0.45 / 0.2)
    np.testing.assert_allclose(draw.weights, [1, rare, 1, rare, 1], rtol=1e-12)
    assert draw.even


@pytest.mark.parametrize("epoch", range(5))
def test_an_even_draw_shows_each_image_as_often_as_its_share_rounded_up_or_down(epoch: int) -> None:
    weights = np.random.default_rng(epoch).uniform(1, 3, 50)
    counts = np.bincount(WeightedDraw(weights, even=True).order(0, epoch), minlength=50)
    shares = 50 * weights / weights.sum()
    assert ((counts == np.floor(shares)) | (counts == np.ceil(shares))).all()


@pytest.mark.parametrize("threshold", [0.0, 0.1])
def test_classes_that_are_common_enough_leave_a_permutation(threshold: float) -> None:
    for epoch in range(50):
        assert sorted(by_repeat_factor(TABLE, threshold).order(0, epoch)) == list(range(5))


@pytest.mark.parametrize("even", [False, True])
def test_an_order_is_a_function_of_weights_seed_and_epoch(even: bool) -> None:
    weights = np.random.default_rng(1).uniform(0, 1, 200)
    first, again = (WeightedDraw(weights.copy(), even) for _ in range(2))
    order = first.order(5, 2)
    assert order.tolist() == again.order(5, 2).tolist()
    assert len(order) == 200
    others = [first.order(5, 3), first.order(6, 2), WeightedDraw(weights**2, even).order(5, 2)]
    assert all((order != other).any() for other in others)
    assert (np.diff(order) < 0).any() and (np.diff(order) > 0).any(), "shuffled"
    with pytest.raises(ValueError, match="read-only"):
        order[0] = 1


def test_images_that_weigh_nothing_are_not_drawn_even_at_the_end() -> None:
    for even in (False, True):
        draw = WeightedDraw(np.array([0.0, 1e-300, 0.0, 1e300, 0.0]), even)
        assert {int(image) for epoch in range(100) for image in draw.order(0, epoch)} == {3}


def plans_of(table: Table) -> KeyedPlans:
    sizes = np.full((5, 2), 64)
    return KeyedPlans(table, PlanSource(sizes, 64, Hyp(), draw=by_average_precision(table, (0.0,) * 3)), 7)


def test_samples_and_partners_come_from_the_weighted_order() -> None:
    plans = plans_of(TABLE)
    shown = {index for position in range(100) for index in plans.plan(Key(0, position)).indices()}
    assert shown == set(plans.source.order(7, 0).tolist())
    assert 2 not in shown


def test_the_average_precision_of_a_key_decides_the_order() -> None:
    found = (1.0, 1.0, 0.0)  # only class 2 is missed: image 3
    plans = plans_of(TABLE)
    assert {index for n in range(9) for index in plans.plan(Key(4, n, found)).indices()} == {3}
    first = plans.plan(Key(4, 0))
    assert first == plans_of(TABLE).plan(Key(4, 0)), "what was planned before does not matter"
    assert index_at(plans.source.order(7, 4), 0) in first.indices()
