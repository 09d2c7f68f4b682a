"""What a run writes down for programs: every reading and epoch, and on what it ran."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from commands import Commands

from accel_yolo.engine.record import Record
from accel_yolo.engine.rows import COLUMNS
from accel_yolo.reports.events import END, ENVIRONMENT, EPOCH, METRICS, STEP, Event, read_events, read_sessions


def test_a_run_records_each_reading_each_epoch_and_its_end(commands: Commands, data: Path) -> None:
    commands.train(data, "--epochs", "2", "--batch", "2").succeeded()
    run = commands.project / "exp"
    events = read_events(run / METRICS)
    assert [event["event"] for event in events] == [STEP, EPOCH, STEP, EPOCH, END]
    assert [event["step"] for event in events] == [1, 2, 3, 4, 4]
    assert [event["images"] for event in events] == [2, 4, 6, 8, 8]
    for event in events[:4]:
        assert event["speed/images_per_s"] > 0 and 0 <= event["speed/data_wait"] <= 1
        assert event["memory/process_mib"] > 100 and "memory/device_mib" not in event
    for epoch in (events[1], events[3]):
        parts = [epoch[f"time/{part}_s"] for part in ("train", "validate", "save")]
        assert all(part > 0 for part in parts) and epoch["time/data_wait_s"] <= epoch["time/train_s"]
    assert events[-1]["seconds"] > sum(event["time/train_s"] for event in events if event["event"] == EPOCH)


def test_epochs_are_those_of_the_table_and_the_end_those_of_the_metrics(commands: Commands, data: Path) -> None:
    commands.train(data, "--epochs", "2", "--noval").succeeded()
    run = commands.project / "exp"
    with (run / "results.csv").open() as stream:
        rows = [{key.strip(): float(value) for key, value in row.items()} for row in csv.DictReader(stream)]
    *events, end = (event for event in read_events(run / METRICS) if event["event"] != STEP)
    for row, event in zip(rows, events, strict=True):
        for name in COLUMNS:
            written = event[name] if event[name] is not None else float("nan")  # the first epoch was not validated
            assert written == pytest.approx(row[name], rel=1e-4, nan_ok=True)
    metrics = json.loads((run / "metrics.json").read_text())
    assert end["metrics/mAP_0.5"] == pytest.approx(metrics["map50"], rel=1e-5)


def test_what_it_ran_on_is_kept_with_the_words_that_started_it(commands: Commands, data: Path) -> None:
    commands.train(data, "--processes", "1", "--batch", "4").succeeded()
    (session,) = read_sessions(commands.project / "exp" / ENVIRONMENT)
    assert session["from_step"] == 0
    topology, environment = session["topology"], session["environment"]
    assert topology["processes"] == topology["machines"] == 1 and topology["devices"] == ["cpu"]
    assert topology["lines"][0].startswith("Batch of 4 images")
    assert {"accel_yolo", "python", "torch", "platform", "cpu", "cores", "memory_gib"} <= environment.keys()


def test_a_line_that_a_kill_has_cut_off_is_not_there(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.add(STEP, {"step": 1, "epoch": 0, "train/box_loss": float("nan")})
    with (tmp_path / METRICS).open("a") as stream:
        stream.write('{"event": "step", "st')
    (event,) = read_events(tmp_path / METRICS)
    assert event["train/box_loss"] is None
    record.begin(1, 0)
    record.add(STEP, {"step": 2, "epoch": 0})
    assert [event["step"] for event in read_events(tmp_path / METRICS)] == [1, 2]


def test_a_run_that_is_continued_drops_what_it_will_do_again(tmp_path: Path) -> None:
    record = Record(tmp_path)
    for event, step, epoch in (
        (STEP, 1, 0),
        (EPOCH, 10, 0),
        (STEP, 11, 1),
        (EPOCH, 20, 1),
        (STEP, 21, 2),
        (END, 30, 2),
    ):
        record.add(event, {"step": step, "epoch": epoch})
    record.begin(20, 1)  # its second epoch was trained, and is to be validated again
    kept = [(event["event"], event["step"]) for event in read_events(tmp_path / METRICS)]
    assert kept == [(STEP, 1), (EPOCH, 10), (STEP, 11)]
    record.begin(0, 0)
    assert read_events(tmp_path / METRICS) == []


def test_a_record_that_cannot_be_written_costs_one_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / METRICS).mkdir()
    heard: list[Event] = []

    class Listening:
        hear = staticmethod(heard.append)

    record = Record(tmp_path)
    record.followers.append(Listening())
    for step in (1, 2):
        record.add(STEP, {"step": step, "epoch": 0})
    assert capsys.readouterr().err.count("training goes on") == 1
    assert [event["step"] for event in heard] == [1, 2]


def test_a_run_in_the_place_of_another_begins_without_what_was_found_of_it(
    commands: Commands, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = commands.project / "exp"
    commands.train(data).succeeded()
    (run / "tensorboard").mkdir()
    found = {path.name for path in run.glob("*.csv")} | {"metrics.json", "metrics.jsonl", "report.html", "tensorboard"}
    assert len(found) > 10

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("accel_yolo.engine.train.introduce", interrupted)
    assert commands.train(data, "--exist-ok").code == 130
    assert not found & {path.name for path in run.iterdir()}
