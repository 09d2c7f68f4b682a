"""Learning rates, momentum and accumulation are pure functions of the step, equal to the reference's."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.engine.schedule import Schedule, decayed
from accel_yolo.errors import ConfigError


def _config(**changes: object) -> TrainConfig:
    return TrainConfig(**{"batch": 16, "epochs": 3, "imgsz": 320, **changes})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_learning_rates_of_a_run_inside_warm_up_equal_the_recorded_ones(
    seed: int, recorded: Callable[[str], Path]
) -> None:
    with recorded(f"train_coco128_320_3epochs_seed{seed}.csv").open() as stream:
        rows = [{key.strip(): float(value) for key, value in row.items()} for row in csv.DictReader(stream)]
    schedule = Schedule(_config(), steps_per_epoch=8)
    for row in rows:
        knobs = schedule.at(int(row["epoch"]) * 8 + 7)
        assert knobs.lr_bias == pytest.approx(row["x/lr0"], rel=1e-4)
        assert knobs.lr_weight == pytest.approx(row["x/lr1"], rel=1e-4)


def test_learning_rates_after_warm_up_equal_the_recorded_ones(reference_dir: Path) -> None:
    with (reference_dir / "reference" / "train_coco128_320_30epochs_seed0.csv").open() as stream:
        rows = [{key.strip(): float(value) for key, value in row.items()} for row in csv.DictReader(stream)]
    schedule = Schedule(_config(epochs=30), steps_per_epoch=8)
    for row in rows:
        knobs = schedule.at(int(row["epoch"]) * 8 + 7)
        assert knobs.lr_bias == pytest.approx(row["x/lr0"], rel=1e-4)
        assert knobs.lr_weight == pytest.approx(row["x/lr2"], rel=1e-4)


def test_the_epoch_in_which_warm_up_ends_keeps_its_own_factor_and_later_ones_lag_by_one() -> None:
    config = _config(epochs=5, hyp=Hyp(lr0=0.01, lrf=0.01))
    schedule = Schedule(config, steps_per_epoch=50)
    assert schedule.warmup_steps == 150
    assert schedule.at(3 * 50 + 49).lr_weight == pytest.approx(0.00406, rel=1e-6)
    assert schedule.at(4 * 50).lr_weight == pytest.approx(0.00406, rel=1e-6)


@pytest.mark.parametrize(
    ("cosine", "epoch", "factor"),
    [(False, 1, 0.9967), (False, 150, 0.505), (False, 299, 0.0133)]
    + [(True, 1, 0.99997286), (True, 150, 0.505), (True, 299, 0.01002714)],
)
def test_linear_and_cosine_factors(cosine: bool, epoch: int, factor: float) -> None:
    schedule = Schedule(_config(epochs=300, cos_lr=cosine), steps_per_epoch=1)
    assert schedule.factor(epoch) == pytest.approx(factor, abs=1e-7)


@pytest.mark.parametrize(
    ("batch", "accumulation", "decay"),
    [(1, 64, 5e-4), (4, 16, 5e-4), (16, 4, 5e-4), (20, 3, 4.6875e-4), (24, 3, 5.625e-4), (32, 2, 5e-4)]
    + [(40, 2, 6.25e-4), (64, 1, 5e-4), (100, 1, 7.8125e-4), (128, 1, 1e-3)],
)
def test_accumulation_and_weight_decay_follow_the_nominal_batch(batch: int, accumulation: int, decay: float) -> None:
    config = _config(batch=batch, epochs=300)
    assert Schedule(config, steps_per_epoch=10).accumulation(2999) == accumulation
    assert decayed(config) == pytest.approx(decay)


def test_the_last_step_of_every_epoch_updates_so_that_no_gradient_is_thrown_away() -> None:
    schedule = Schedule(_config(batch=4, epochs=4, warmup_min_steps=0, hyp=Hyp(warmup_epochs=0)), steps_per_epoch=10)
    updates = [step for step in range(40) if schedule.at(step).is_update]
    assert {9, 19, 29, 39} <= set(updates)
    # Sixteen steps make one update here, so only ends of epochs are left.
    assert updates == [9, 19, 29, 39]


def test_multi_scale_draws_one_size_per_step_from_the_seed() -> None:
    first, same, other = (Schedule(_config(multi_scale=True, seed=seed), 8) for seed in (3, 3, 4))
    sizes = [first.image_size(step, 32) for step in range(300)]
    assert sizes == [same.image_size(step, 32) for step in range(300)]
    assert sizes != [other.image_size(step, 32) for step in range(300)]
    assert set(sizes) == set(range(160, 481, 32))


def test_a_short_rest_of_an_epoch_joins_the_window_before_it() -> None:
    # Windows of four in epochs of ten: a rest of two joins, so updates come after 4 and 6 steps, not 4, 4 and 2.
    short = Schedule(_config(batch=16, epochs=2, warmup_min_steps=0, hyp=Hyp(warmup_epochs=0)), steps_per_epoch=10)
    assert [step for step in range(20) if short.at(step).is_update] == [3, 9, 13, 19]
    # A rest of three makes an update of its own.
    long = Schedule(_config(batch=16, epochs=1, warmup_min_steps=0, hyp=Hyp(warmup_epochs=0)), steps_per_epoch=11)
    assert [step for step in range(11) if long.at(step).is_update] == [3, 7, 10]


def test_a_run_of_more_steps_than_there_is_room_for_is_a_typing_error() -> None:
    with pytest.raises(ConfigError, match=r"a run of too many steps in --epochs: 99999999999; at most"):
        Schedule(TrainConfig(epochs=99_999_999_999), 20)
    with pytest.raises(ConfigError, match="at most 99,999,999 steps fit"):  # names of checkpoints have eight digits
        Schedule(TrainConfig(epochs=5_000_000), 20)
