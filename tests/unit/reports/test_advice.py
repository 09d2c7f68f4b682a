"""Advice on a run: which measured number leads to which line, and that nothing is said that was not measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accel_yolo.reports.advice import Tuning, advice
from accel_yolo.reports.step_parts import PART_COLUMNS, StepParts, part_cells

COMPUTING = StepParts(data_s=0.001, forward_s=0.04, backward_s=0.05, update_s=0.005, other_s=0.004)
WAITING = replace(COMPUTING, data_s=0.05)
CALM = Tuning(
    parts=COMPUTING, steps=100, val_s=1.0, batch_per_process=16, processes=1, workers=4, cores=16, device="cuda",
    sample_s=0.014, kernel_share=0.9,
)  # fmt: skip


def test_a_run_in_which_nothing_stands_out_is_told_so() -> None:
    assert advice(CALM) == ["Nothing stands out: 95% of a step is computing."]


def test_waiting_for_data_asks_for_as_many_workers_as_make_a_batch_in_the_time_of_a_step() -> None:
    (line,) = advice(replace(CALM, parts=replace(WAITING, forward_s=0.01, backward_s=0.02), workers=2))
    # 16 samples of 14 ms while 39 ms are computed: 5.7 workers.
    assert "56% of a step waits for data" in line and "--workers 6 " in line
    assert "14.0 ms" in line and "39 ms" in line


def test_workers_beyond_the_cores_are_not_asked_for_but_less_work_for_each() -> None:
    (line,) = advice(replace(CALM, parts=WAITING, workers=2, cores=2))
    assert "--cache" in line and "--workers" not in line
    (line,) = advice(replace(CALM, parts=WAITING, workers=2, cores=2, settings=("cache",)))
    assert "--cache device" in line
    (line,) = advice(replace(CALM, parts=WAITING, workers=2, cores=2, settings=("cache", "device")))
    assert "too few cores" in line


def test_on_a_cpu_workers_share_the_cores_of_the_step_and_are_not_asked_for() -> None:
    (line,) = advice(replace(CALM, parts=WAITING, workers=1, device="cpu", kernel_share=0.0))
    assert "--cache" in line and "--workers" not in line
    (line,) = advice(replace(CALM, parts=WAITING, workers=0, device="cpu", kernel_share=0.0))
    assert "--workers 1" in line


@pytest.mark.parametrize(("data_s", "says"), [(0.0051, False), (0.0055, True)])
def test_five_percent_of_waiting_are_borne(data_s: float, says: bool) -> None:
    lines = advice(replace(CALM, parts=replace(COMPUTING, data_s=data_s)))
    assert any("waits for data" in line for line in lines) == says


def test_a_step_that_kernels_do_not_fill_is_bound_by_its_launches() -> None:
    (line,) = advice(replace(CALM, kernel_share=0.4))
    assert "Kernels fill 40% of a step" in line and "--batch" in line
    assert "--compile" in line and "--cuda-graphs" in line
    (line,) = advice(replace(CALM, kernel_share=0.4, settings=("compile",)))
    assert "--compile" not in line and "--cuda-graphs" in line


def test_bfloat16_is_named_only_with_the_speed_up_that_was_measured() -> None:
    assert not any("bf16" in line for line in advice(replace(CALM, device="cpu", kernel_share=0.0)))
    assert not any("bf16" in line for line in advice(replace(CALM, bf16_speed_up=1.02)))
    (line,) = advice(replace(CALM, bf16_speed_up=1.72))
    assert "1.72 times as fast with --precision bf16 (measured here)" in line


def test_a_validation_that_takes_more_than_a_quarter_of_an_epoch_is_named() -> None:
    assert not any("Validation" in line for line in advice(replace(CALM, val_s=3.0)))
    (line,) = advice(replace(CALM, val_s=10.0))
    assert "Validation is 50% of an epoch" in line and "--noval" in line


def test_free_memory_is_named_only_where_it_is_known() -> None:
    assert not any("GB" in line for line in advice(replace(CALM, used_bytes=8 * 10**9)))
    (line,) = advice(replace(CALM, used_bytes=8 * 10**9, device_bytes=80 * 10**9))
    assert "8.0 of 80.0 GB" in line and "--batch" in line
    assert "GB" not in advice(replace(CALM, used_bytes=60 * 10**9, device_bytes=80 * 10**9))[0]


def test_at_most_three_lines_are_given_and_what_saves_most_comes_first() -> None:
    everything = replace(
        CALM, parts=WAITING, kernel_share=0.7, bf16_speed_up=2.0, val_s=100.0, used_bytes=10**9, device_bytes=10**11
    )
    lines = advice(everything)
    assert ["Validation" in lines[0], "bf16" in lines[1], "waits for data" in lines[2]] == [True] * 3
    assert len(lines) == 3


def test_what_was_measured_survives_the_way_through_a_file() -> None:
    run = replace(CALM, settings=("cache",))
    assert Tuning.from_json(run.to_json()) == run


def test_the_parts_of_a_step_add_up_to_it_and_what_has_no_name_is_the_rest() -> None:
    measured = {"data": 0.03, "forward": 0.04, "backward": 0.05, "update": 0.005}
    parts = StepParts.of(0.13, waited_s=0.02, parts_s=measured)
    assert parts.data_s == 0.02  # of the 30 ms between two steps, 10 went into matching and copying
    assert parts.other_s == pytest.approx(0.13 - 0.02 - 0.095)
    assert parts.total_s == pytest.approx(0.13)
    # A GPU that was busy meanwhile did not wait as long as the loop did.
    assert StepParts.of(0.13, waited_s=0.1, parts_s=measured).data_s == 0.03


def test_a_row_shows_milliseconds_and_shares_of_the_step() -> None:
    cells = part_cells(2, COMPUTING, 0.125)
    assert len(cells) == len(PART_COLUMNS)
    assert cells == [
        "2", "100 ms", "1 ms (1.0%)", "40 ms (40.0%)", "50 ms (50.0%)", "5 ms (5.0%)", "4 ms (4.0%)",
        "12.5% of the epoch",
    ]  # fmt: skip
