"""Trackers are told what a run does, and cannot harm it."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Commands

from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.rows import COLUMNS
from accel_yolo.engine.tracking import WAITING, Link, Tracking, flat_settings
from accel_yolo.reports.events import EPOCH, METRICS, STEP, read_events


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody is known to any tracker here."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def epochs_of(run: Path) -> list[dict[str, float]]:
    with (run / "results.csv").open() as stream:
        return [{key.strip(): float(value) for key, value in row.items()} for row in csv.DictReader(stream)]


@pytest.mark.slow
def test_tensorboard_holds_epochs_readings_settings_and_pictures(commands: Commands, data: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    small = ("--imgsz", "64", "--batch", "8", "--workers", "0", "--device", "cpu", "--epochs", "2", "--weights", "")
    place = ("--project", commands.project, "--data", data, "--cfg", "yolov5n")
    done = commands("train", *small, *place, "--report-to", "tensorboard").succeeded()
    run = commands.project / "exp"
    assert done.starting("note")[-1].endswith(f"tensorboard --logdir {commands.project}")
    events = EventAccumulator(str(run / "tensorboard"), {"images": 0, "scalars": 0}).Reload()
    for name in COLUMNS[1:]:
        told = [(scalar.step, scalar.value) for scalar in events.Scalars(name)]
        assert [step for step, _ in told] == [0, 1]
        assert [value for _, value in told] == pytest.approx([row[name] for row in epochs_of(run)], rel=1e-4)
    recorded = [event for event in read_events(run / METRICS) if event["event"] == STEP]
    assert [scalar.step for scalar in events.Scalars("step/box_loss")] == [event["step"] for event in recorded]
    assert events.Scalars("best/mAP_0.5")[-1].value == pytest.approx(
        json.loads((run / "metrics.json").read_text())["map50"], rel=1e-4
    )
    assert all(path.is_file() for path in (run / "tensorboard").iterdir()), "a second run beside this one"
    drawn = {path.stem for path in run.iterdir() if path.suffix in (".png", ".jpg")}
    assert "confusion_matrix" in drawn and set(events.Tags()["images"]) == drawn
    settings = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"seed" in settings and b"hyp/lr0" in settings


def test_a_tracker_that_is_not_installed_stops_the_run_before_it_begins(commands: Commands, data: Path) -> None:
    commands.train(data, "--report-to", "aim").error(2, "not installed", "--report-to", "aim", "pip install aim")
    assert not commands.project.exists()


def test_trackers_are_words_or_a_list_with_commas(commands: Commands, data: Path) -> None:
    outcome = commands.train(data, "--report-to", "tensorboard,nowhere")
    outcome.error(2, "--report-to", "nowhere", "give one of", "wandb")


def test_settings_are_flat_and_plain() -> None:
    settings = flat_settings(TrainConfig(freeze=(1, 2), report_to=()))
    assert settings["freeze"] == "1 2" and settings["report_to"] == "" and settings["hyp/lr0"] == 0.01
    assert all(isinstance(value, (str, int, float, bool)) for value in settings.values())


def subject(folder: Path) -> dict[str, Any]:
    names = {"folder": str(folder), "project": "p", "name": "n", "config": {}, "entity": "", "is_resumed": False}
    return {"do": "start", "subject": names}


def reading(step: int) -> dict[str, Any]:
    return {"do": "step", "epoch": 0, "step": step, "values": {"step/box_loss": 0.5}}


def test_a_tracker_that_hangs_holds_nobody_up(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    link = Link("tensorboard", tmp_path)
    os.kill(link.pid or 0, signal.SIGSTOP)
    begun = time.monotonic()
    for step in range(2 * WAITING):
        link.tell(reading(step))
    assert time.monotonic() - begun < 2
    begun = time.monotonic()
    link.end(begun + 1)
    assert time.monotonic() - begun < 5
    assert not link.is_running, "it is still there"
    warning = capfd.readouterr().err
    assert f"was still busy: {2 * WAITING} of {2 * WAITING} messages were not delivered" in warning
    assert "metrics.jsonl" in warning


def test_a_tracker_hears_the_last_words_of_a_run_whose_processes_all_got_a_signal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    link = Link("tensorboard", tmp_path)
    link.tell(subject(tmp_path))
    until = time.monotonic() + 90
    while link.delivered < 1 and time.monotonic() < until:
        time.sleep(0.05)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        os.kill(link.pid or 0, number)
    link.tell(reading(1))
    link.end(time.monotonic() + 90)
    assert link.delivered == 2 and "were not delivered" not in capfd.readouterr().err


def test_a_tracker_that_hangs_leaves_the_others_their_time(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tracking = Tracking(("mlflow", "tensorboard"), subject(tmp_path)["subject"])
    tracking.begin()
    os.kill(tracking.links[0].pid or 0, signal.SIGSTOP)
    tracking.hear({"event": EPOCH, "time": 0.0, "epoch": 0, "step": 1, "metrics/recall": 0.5})
    until = time.monotonic() + 90
    while tracking.links[1].delivered < 2 and time.monotonic() < until:
        time.sleep(0.05)
    tracking.end(5, failed=False)
    errors = capfd.readouterr().err
    assert "mlflow was still busy: 3 of 3 messages" in errors and "tensorboard was" not in errors


def test_trackers_do_not_hear_of_a_run_that_cannot_begin(commands: Commands, data: Path) -> None:
    (data.parent / "images" / "0.png").write_bytes(b"no image")
    commands.guarded.clear()
    commands.train(data, "--report-to", "tensorboard", "--bad-data", "fail").error(3, "0.png")
    assert not list(commands.project.rglob("trackers"))


def test_a_tracker_that_is_killed_is_named_once_and_nothing_else_happens(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tracking = Tracking(("tensorboard",), subject(tmp_path)["subject"])
    tracking.begin()
    os.kill(tracking.links[0].pid or 0, signal.SIGKILL)
    while tracking.links[0].is_running:
        time.sleep(0.01)
    begun = time.monotonic()
    for step in range(5):
        tracking.hear({"event": STEP, "time": 0.0, "epoch": 0, "step": step, "train/box_loss": 0.5})
    tracking.end(60, failed=False)
    assert time.monotonic() - begun < 10, "nobody is there to wait for"
    errors = capfd.readouterr().err
    assert errors.count("training goes on") == 1 and "has ended early" in errors


def test_what_a_tracker_refuses_is_given_up_and_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    link = Link("tensorboard", tmp_path)
    link.tell(subject(tmp_path))
    link.tell({"do": "picture", "epoch": 0, "step": 1, "path": str(tmp_path / "missing.png")})
    link.tell({"do": "epoch", "epoch": 0, "step": 1, "values": {"metrics/recall": 0.25}})
    link.end(time.monotonic() + 60)
    errors = capfd.readouterr().err
    assert "refused some: 1 of 3 messages" in errors and errors.count("asked again") == 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """A real MLflow server: its address and its process."""
    port = free_port()
    words = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    places = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        str(tmp_path / "kept"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *words, *places],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        start_new_session=True,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # many processes that nobody needs here
    )
    try:
        until = time.monotonic() + 120
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < until and process.poll() is None, "the server does not start"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", process
    finally:
        _end_group(process)


def _end_group(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_server_that_is_killed_in_the_middle_costs_no_training(
    commands: Commands, data: Path, server: tuple[str, subprocess.Popen], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, process = server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    reached, heard_s = [], []
    hear = Tracking.hear

    def killing(tracking: Tracking, event: dict[str, Any]) -> None:
        hear(tracking, event)
        if event["event"] == EPOCH and event["epoch"] == 1:
            until = time.monotonic() + 180  # until the server has been told of the first epochs
            while tracking.links[0].delivered < 1 and time.monotonic() < until:
                time.sleep(0.1)
            reached.append(tracking.links[0].delivered)
            _end_group(process)
        if reached:
            heard_s.append(time.monotonic())

    monkeypatch.setattr(Tracking, "hear", killing)
    words = ("--epochs", "5", "--report-to", "mlflow", "--report-timeout", "3")
    done = commands.train(data, *words).succeeded()
    assert reached and reached[0] >= 1, "the server was never reached"
    assert max(later - sooner for sooner, later in itertools.pairwise(heard_s)) < 30, "training has waited for it"
    run = commands.project / "exp"
    assert len(epochs_of(run)) == 5 and (run / "weights" / "best.safetensors").is_file()
    (late,) = [line for line in done.starting("warning") if "not delivered" in line]
    assert "metrics.jsonl" in late
    assert len([event for event in read_events(run / METRICS) if event["event"] == EPOCH]) == 5


def wandb_records(file: Path) -> Iterator[bytes]:
    """Yield the records of an offline file of wandb: LevelDB's log format after a header of 7 bytes."""
    content, place, whole = file.read_bytes(), 7, b""
    block = 32768
    while place + 7 <= len(content):
        if block - place % block < 7:  # no header fits into the rest of a block
            place += block - place % block
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        whole += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or its last part
            yield whole
            whole = b""


def wandb_history(folder: Path) -> list[dict[str, Any]]:
    """Return what the offline files of wandb hold, row by row."""
    from wandb.proto import wandb_internal_pb2

    rows = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for content in wandb_records(file):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(content)
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return rows


@pytest.mark.slow
def test_wandb_and_mlflow_are_told_the_same_offline_and_go_on_with_a_resumed_run(
    commands: Commands, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    address = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    patient = ("--report-timeout", "400", "--device", "cpu")
    commands.train(data, "--report-to", "wandb", "mlflow", "--processes", "2", "--batch", "4", *patient).succeeded()
    run = commands.project / "exp"
    commands("train", "--resume", run, "--epochs", "2", "--report-to", "wandb,mlflow", *patient).succeeded()
    rows = epochs_of(run)

    client = MlflowClient(address)
    (experiment,) = client.search_experiments(filter_string="name = 'runs'")
    (told,) = client.search_runs([experiment.experiment_id])
    assert told.info.run_name == "exp" and told.info.status == "FINISHED"
    assert told.data.params["epochs"] == "1" and told.data.params["hyp/lr0"] == "0.01"
    for name in COLUMNS[1:]:
        history = client.get_metric_history(told.info.run_id, name)
        assert {metric.step: metric.value for metric in history} == pytest.approx(
            {int(row["epoch"]): row[name] for row in rows}, rel=1e-4
        )
    kept = {entry.path for entry in client.list_artifacts(told.info.run_id)}
    assert {"results.csv", "metrics.json", "config.yaml", "weights"} <= kept

    history = [row for row in wandb_history(run) if "metrics/mAP_0.5" in row]
    assert [row["epoch"] for row in history] == [0, 1]
    for row, wanted in zip(history, rows, strict=True):
        assert [row[name] for name in COLUMNS[1:]] == pytest.approx([wanted[name] for name in COLUMNS[1:]], rel=1e-4)
    assert len({file.name for file in run.glob("wandb/offline-run-*/*.wandb")}) == 1, "two runs of one"
