"""What does not go together is refused, listed by the help, and nothing else is."""

from __future__ import annotations

import re
from typing import Any

import option_pairs
import pytest

from accel_yolo.config.exclusions import EXCLUSIONS, Exclusion
from accel_yolo.config.flags import build_parser
from accel_yolo.config.schema import TrainConfig
from accel_yolo.config.settings import rules_of
from accel_yolo.errors import ConfigError

ON: dict[str, Any] = {
    "cache": "device", "micro_batch": 8, "bn_group": 8, "batch": -1, "gradient_compression": "fp16",
    "precision": "bf16", "augment_with": "a:b", "class_balanced": 0.1,
}  # fmt: skip


def on(setting: str) -> Any:
    return ON.get(setting, True)


@pytest.mark.parametrize("exclusion", EXCLUSIONS, ids=lambda each: each.flags)
def test_two_that_do_not_go_together_are_refused_in_one_line_that_names_both(exclusion: Exclusion) -> None:
    both = {exclusion.first: on(exclusion.first), exclusion.second: on(exclusion.second)}
    with pytest.raises(ConfigError, match=re.escape(f"{exclusion.why} in {exclusion.flags}; leave out one of them")):
        TrainConfig(**both)


@pytest.mark.parametrize("exclusion", EXCLUSIONS, ids=lambda each: each.flags)
def test_each_of_them_alone_is_accepted(exclusion: Exclusion) -> None:
    for setting in (exclusion.first, exclusion.second):
        more = {"micro_batch": 8, "bn_group": 8} if setting == "bit_exact" else {}
        TrainConfig(**{**more, setting: on(setting)})


def test_only_some_values_of_a_setting_may_be_meant() -> None:
    TrainConfig(quad=True, cache="ram")
    with pytest.raises(ConfigError):
        TrainConfig(quad=True, cache="device")


def test_the_help_lists_all_of_them() -> None:
    text = " ".join(build_parser("train").format_help().split())
    for exclusion in EXCLUSIONS:
        assert exclusion.flags in text and exclusion.why in text


def test_every_option_of_training_is_tried_in_pairs_or_left_out_for_a_reason() -> None:
    tried = {option.setting for option in option_pairs.options()}
    known = {*tried, *option_pairs.ALWAYS, *option_pairs.LEFT_OUT}
    assert set(rules_of(TrainConfig)) <= known
    assert not tried & {*option_pairs.ALWAYS, *option_pairs.LEFT_OUT}


def test_the_rows_hold_every_pair_that_goes_together_and_are_the_recorded_ones() -> None:
    rows = option_pairs.rows()
    held = {frozenset((one, other)) for row in rows for one in row for other in row if one is not other}
    assert option_pairs.pairs() <= held
    assert option_pairs.RECORD.read_text().splitlines() == option_pairs.lines()


def test_no_row_holds_a_pair_that_the_help_excludes() -> None:
    for line in option_pairs.lines():
        words = f" {line} "
        for exclusion in EXCLUSIONS:
            second = exclusion.flags.partition(" and ")[2]
            if " or " not in second:
                assert not (f" --{exclusion.first.replace('_', '-')} " in words and f" {second} " in words)
