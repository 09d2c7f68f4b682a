"""The model of scaling: from the times of a step to epochs, their split and predictions, in exact numbers."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from accel_yolo.reports.scaling import Measured, Scale, Split, epoch_of
from accel_yolo.reports.scaling_plot import plot
from accel_yolo.reports.scaling_prediction import Link, limit, predicted, prediction_error
from accel_yolo.reports.scaling_table import COLUMNS, CSV_COLUMNS, Report, clock, spread

ONE = Measured(
    processes=1, device="CPU", batch_per_process=16, full_s=0.5, data_s=0.1, apart_s=0.5, apart_data_s=0.1,
    exchange_s=0.38, alone_s=0.38, scatter_s=0.0, control_s=0.0, traffic_bytes=100_000_000, allreduce_s=0.0,
    latency_s=0.0, index_s=0.5, checkpoint_s=2.0, merge_s=0.1, val_s=10.0, val_images=100,
    memory_bytes=(2_000_000_000,),
    reserved_bytes=(3_000_000_000,),
)  # fmt: skip
# Half of the exchange is hidden: 0.051 s of 0.102 s show. The link moves 1 GB/s at 1 ms a message.
TWO = replace(
    ONE, processes=2, full_s=0.551, data_s=0.1, apart_s=0.52, apart_data_s=0.12, exchange_s=0.451, alone_s=0.4,
    allreduce_s=0.102, latency_s=0.002, val_s=5.05, memory_bytes=(1_950_000_000, 2_000_000_000),
    reserved_bytes=(3_000_000_000, 3_000_000_000),
)  # fmt: skip
FOUR = replace(
    TWO, processes=4, full_s=0.6, exchange_s=0.48, alone_s=0.4, memory_bytes=TWO.memory_bytes * 2, latency_s=0.006,
    allreduce_s=0.156,
)  # fmt: skip
OWN = Scale(images=1600, val_images=100, own_images=1600, own_val_images=100)
COCO = Scale(images=118_287, val_images=5000, own_images=1600, own_val_images=100)


def test_a_step_is_divided_as_the_steps_on_a_ready_batch_divide_it() -> None:
    epoch = epoch_of(TWO, OWN)
    assert (epoch.batch, epoch.steps) == (32, 50)
    assert epoch.split.data_s == pytest.approx(50 * 0.1)
    assert epoch.split.compute_s == pytest.approx(50 * 0.4)
    assert epoch.split.communication_s == pytest.approx(50 * 0.051)
    assert epoch.split.train_s == pytest.approx(50 * 0.551)
    assert epoch.split.serial_s == pytest.approx(0.5 + 2.0 + 0.1)
    assert epoch.images_per_s == pytest.approx(32 / 0.551)
    assert epoch.val_s == pytest.approx(5.05)


def test_one_process_has_no_communication_whatever_its_two_kinds_of_steps_took() -> None:
    noisy = replace(ONE, exchange_s=0.5, alone_s=0.4)
    assert epoch_of(noisy, OWN).split.communication_s == 0


def test_noise_never_makes_a_part_negative() -> None:
    faster_with_exchange = replace(TWO, exchange_s=0.39, alone_s=0.4, data_s=0.7)
    split = epoch_of(faster_with_exchange, OWN).split
    assert split.communication_s == 0
    assert split.compute_s == 0
    assert split.train_s == pytest.approx(50 * 0.551)


def test_a_difference_within_its_scatter_gives_no_more_than_the_sum_on_its_own() -> None:
    # 1 ms is measured where 5 ms are noise: the exchange may take 5 ms, if that is less than the sum alone.
    unclear = replace(TWO, exchange_s=0.451, alone_s=0.450, scatter_s=0.005)
    assert epoch_of(unclear, OWN).split.communication_s == pytest.approx(50 * 0.005)
    quick = replace(unclear, allreduce_s=0.002)
    assert epoch_of(quick, OWN).split.communication_s == pytest.approx(50 * 0.002)
    clear = replace(unclear, scatter_s=0.0005)
    assert epoch_of(clear, OWN).split.communication_s == pytest.approx(50 * 0.001)


@pytest.mark.parametrize("seed", range(50))
def test_the_four_shares_sum_to_exactly_a_hundred_percent(seed: int) -> None:
    parts = np.random.default_rng(seed).uniform(0, 1, 4) ** 4
    split = Split(*parts.tolist())
    shares = split.percent()
    assert round(sum(shares) * 10) == 1000 and sum(f"{share:.1f}" == f"{share}" for share in shares) == 4
    assert shares == pytest.approx(parts / parts.sum() * 100, abs=0.1)


def test_the_whole_data_set_counts_in_full_batches() -> None:
    epoch = epoch_of(TWO, replace(OWN, images=1601))
    assert epoch.steps == 51
    assert epoch.images_per_s == pytest.approx(32 / 0.551)


def test_a_link_is_what_two_sums_of_different_size_say() -> None:
    link = Link.of(TWO)
    assert link.bytes_per_s == pytest.approx(1e9)
    assert link.message_s == pytest.approx(0.001)
    assert link.allreduce_s(100_000_000, 8) == pytest.approx(2 * 7 / 8 * 0.1 + 14 * 0.001)


def test_eight_devices_are_predicted_by_a_ring_whose_hidden_share_stays() -> None:
    epoch = predicted([ONE, TWO], 8, OWN)
    assert epoch is not None and epoch.measured is None
    assert (epoch.batch, epoch.steps) == (128, 13)
    assert epoch.split.data_s == pytest.approx(13 * 0.1)
    assert epoch.split.compute_s == pytest.approx(13 * 0.4)
    assert epoch.split.communication_s == pytest.approx(13 * 0.189 / 2)
    assert epoch.split.serial_s == pytest.approx(2.6)
    assert epoch.images_per_s == pytest.approx(128 / 0.5945)
    assert epoch.speed_up(epoch_of(ONE, OWN)) == pytest.approx(8 * 0.5 / 0.5945)
    assert epoch.efficiency(epoch_of(ONE, OWN)) == pytest.approx(0.5 / 0.5945)
    assert epoch.val_s == pytest.approx((5.05 - 0.1) * 2 / 8 + 0.1)


def test_two_are_predicted_from_one_and_from_two_that_exchange_nothing() -> None:
    trained_otherwise = replace(TWO, full_s=99.0, exchange_s=98.0, data_s=1.0)
    for two in (TWO, trained_otherwise):
        epoch = predicted([ONE, two], 2, OWN)
        assert epoch is not None
        assert epoch.split.train_s == pytest.approx(50 * (0.12 + 0.4 + 0.102))
    assert prediction_error([ONE, TWO], TWO, OWN) == pytest.approx(0.551 / 0.622 - 1)


def test_a_measured_count_is_predicted_from_smaller_ones_only() -> None:
    epoch = predicted([ONE, TWO, FOUR], 4, OWN)
    assert epoch == predicted([ONE, TWO], 4, OWN)
    assert epoch is not None
    shown = 0.5 * (2 * 3 / 4 * 0.1 + 6 * 0.001)
    assert epoch.split.train_s == pytest.approx(25 * (0.5 + shown))
    assert prediction_error([ONE, TWO, FOUR], FOUR, OWN) == pytest.approx(0.6 / (0.5 + shown) - 1)


def test_one_process_alone_predicts_nothing() -> None:
    assert predicted([ONE], 8, OWN) is None
    assert prediction_error([ONE], ONE, OWN) is None
    report = Report((ONE,), OWN, "subject", "command")
    assert report.predictions == []
    assert any("No prediction" in line for line in report.remarks())


@pytest.mark.parametrize(
    ("two", "words"),
    [
        (replace(TWO, full_s=1.0, data_s=0.6), "waiting for data"),
        (replace(TWO, full_s=1.0, exchange_s=0.9, alone_s=0.3), "communication"),
        (replace(TWO, checkpoint_s=500.0), "the serial work of an epoch"),
        (replace(TWO, full_s=1.1, exchange_s=1.001, alone_s=1.0), "that processes on one machine slow each other down"),
    ],
)
def test_a_sentence_names_what_limits_at_64(two: Measured, words: str) -> None:
    epoch = predicted([ONE, two], 64, COCO)
    assert epoch is not None
    sentence = limit(epoch_of(ONE, COCO), epoch)
    assert sentence.startswith("At 64 devices an epoch would be ") and sentence.endswith(f"what limits is {words}.")


def test_where_nothing_limits_the_sentence_says_so() -> None:
    parts = {"full_s": 0.401, "data_s": 0.001, "index_s": 0.001, "checkpoint_s": 0.5, "merge_s": 0.001}
    one, two = replace(ONE, **parts), replace(TWO, **parts, exchange_s=0.4, alone_s=0.4)
    epoch = predicted([one, two], 64, COCO)
    assert epoch is not None
    assert "nothing takes more than a twentieth" in limit(epoch_of(one, COCO), epoch)


def test_a_scaled_epoch_is_marked_and_its_factor_named() -> None:
    report = Report((ONE, TWO), COCO, "subject", "command")
    train, val = COLUMNS.index("train, an epoch"), COLUMNS.index("val")
    rows = report.rows()
    assert rows[0][train] == "1:01:37*" and rows[0][val] == "8:20*"
    assert all(row[train].endswith("*") and row[val].endswith("*") for row in rows)
    assert "* training scaled by 73.93: from 1600 to 118287 images." in report.markdown()
    assert "* validation scaled by 50: from 100 to 5000 images." in report.markdown()
    unscaled = Report((ONE, TWO), OWN, "subject", "command")
    assert not any("*" in cell for row in unscaled.rows() for cell in row)
    assert "scaled by" not in unscaled.markdown()


def test_the_serial_part_grows_with_the_data_where_it_reads_the_data() -> None:
    assert epoch_of(ONE, COCO).split.serial_s == pytest.approx(0.5 * COCO.factor + 2.0 + 0.1 * 50)


def test_the_table_shows_measured_and_predicted_devices_with_their_memory_and_errors() -> None:
    report = Report((ONE, TWO, FOUR), OWN, "subject", "accel-yolo profile")
    rows = report.rows()
    assert [row[0] for row in rows] == ["1", "2", "4", "8 (predicted)", "16 (predicted)", "64 (predicted)"]
    assert [row[2] for row in rows[:3]] == ["2.0 GB", "1.9 to 2.0 GB", "1.9 to 2.0 GB"]
    assert rows[0][-1] == "-" and rows[1][-1] == "51.4 (-11%)"
    text = report.markdown()
    for column in COLUMNS:
        assert f" {column} |" in text
    assert "subject.\n" in text and "accel-yolo profile\n" in text


def test_the_csv_has_a_column_for_every_number() -> None:
    rows = list(csv.DictReader(Report((ONE, TWO), COCO, "subject", "command").csv().splitlines()))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["kind"] for row in rows] == ["measured", "measured", "predicted", "predicted", "predicted"]
    assert float(rows[1]["step_s"]) == pytest.approx(0.551)
    assert float(rows[1]["prediction_error_percent"]) == pytest.approx(-11.4148, rel=1e-4)
    assert float(rows[1]["scaled_by"]) == pytest.approx(COCO.factor, rel=1e-5)
    assert rows[2]["step_s"] == "" and float(rows[2]["devices"]) == 8


def test_the_picture_is_a_png_of_its_own(tmp_path: Path) -> None:
    for name, worlds in (("one", (ONE,)), ("three", (ONE, TWO, FOUR))):
        plot(Report(worlds, OWN, "subject", "command"), tmp_path / f"{name}.png")
    pictures = [cv2.imread(str(tmp_path / f"{name}.png")) for name in ("one", "three")]
    assert all(picture is not None and picture.std() > 10 for picture in pictures)
    assert not np.array_equal(*pictures)


def test_measurements_survive_the_way_between_processes() -> None:
    assert Measured.from_json(TWO.to_json()) == TWO


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.84, "0.8 s"), (12.3, "12 s"), (59.9, "60 s"), (1239, "20:39"), (3723, "1:02:03")]
)
def test_durations_are_written_as_people_read_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_memory_is_a_range_only_where_devices_differ() -> None:
    assert spread((45_000_000, 45_010_000)) == "45.0 MB"
    assert spread((45_000_000, 47_000_000)) == "45.0 to 47.0 MB"
