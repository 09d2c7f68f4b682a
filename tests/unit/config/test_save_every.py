"""`--save-every`: times, steps and epochs, and one error for anything else."""

from __future__ import annotations

import pytest

from accel_yolo.config.save_every import Interval, SaveEvery
from accel_yolo.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("15min", SaveEvery(seconds=900)),
        ("90s", SaveEvery(seconds=90)),
        ("0.5h", SaveEvery(seconds=1800)),
        ("2 h", SaveEvery(seconds=7200)),
        ("500steps", SaveEvery(steps=500)),
        ("1step", SaveEvery(steps=1)),
        ("1epoch", SaveEvery(epochs=1)),
        ("10epochs", SaveEvery(epochs=10)),
    ],
)
def test_what_is_understood(text: str, meant: SaveEvery) -> None:
    assert Interval().from_text(text, "--save-every") == text
    assert SaveEvery.of(text) == meant


@pytest.mark.parametrize(
    "value", ["", "15", "min", "0min", "-1steps", "1.5epochs", "15minutes", "1e3s", "５s", "1s 2s", 15]
)
def test_anything_else_is_one_error_that_says_what_to_write(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        Interval().checked(value, "--save-every")
    assert "wrong value in --save-every: " in str(caught.value)
    assert "; give a time, steps or epochs, such as 15min, 90s, 2h, 500steps or 1epoch" in str(caught.value)
