"""A loss that is finite and out of all proportion: told once an epoch."""

from __future__ import annotations

from accel_yolo.engine.loss_course import LossCourse


def told(course: LossCourse, losses: list[float], epoch: int) -> list[str]:
    """Let an epoch of ten steps a reading go by, and return what was said."""
    summed, lines = 0.0, []
    for number, loss in enumerate(losses, 1):
        summed += 10 * loss
        lines.append(course.take(summed / (10 * number), 10 * number, epoch))
    return [line for line in lines if line]


def test_a_hundred_times_the_usual_loss_is_told_once_an_epoch() -> None:
    course = LossCourse()
    assert not told(course, [3.0, 2.0, 1.0, 99.0, 2.0], 0), "few readings are no measure"
    assert not told(course, [2.0, 150.0, 1.0], 1)
    (line,) = told(course, [1.0, 2.0, 2000.0, 3000.0, 1.0], 2)
    assert line.startswith("the loss of the last 10 steps is 2000, 1000 times its usual 2: ")
    (line,) = told(course, [1.0, 2000.0], 3)
    assert line.startswith("the loss of the last 10 steps is 2000, ")


def test_what_is_not_finite_is_no_reading() -> None:
    course = LossCourse()
    assert not told(course, [1.0, 1.0, float("nan"), float("nan")], 0)
    assert not told(course, [1.0, 1.0, 1.0, 1.0], 1)
    assert list(course.readings) == [1.0] * 6
    assert told(course, [500.0], 2)


def test_a_training_whose_loss_stays_low_says_nothing() -> None:
    course = LossCourse()
    assert not any(told(course, [5.0 / (epoch + 1)] * 5, epoch) for epoch in range(9))
