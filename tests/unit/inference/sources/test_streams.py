"""Streams: the newest frame, no growing lag, another try when one falls silent, and an end that is clean."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cameras import Camera, camera
from videos import frames_of, number_in

from accel_yolo.config.predict_schema import PredictConfig
from accel_yolo.errors import EnvironmentFault
from accel_yolo.inference import predict as command
from accel_yolo.inference.predict import predict
from accel_yolo.inference.sources import streams
from accel_yolo.inference.sources.frames import Frame
from accel_yolo.inference.sources.items import Item, numbered
from accel_yolo.inference.sources.streams import Patience, Streams

QUICK = Patience(first_pause_s=0.05, longest_pause_s=0.2, give_up_s=1.0)
NOWHERE = "http://127.0.0.1:9/live"


def opened(*words: str, stride: int = 1, patience: Patience = QUICK) -> Iterator[list[Frame]]:
    return iter(Streams(numbered([Item(word, "stream") for word in words]), patience, stride))


def until(source: Iterator[list[Frame]], holds: Callable[[list[Frame]], bool], limit_s: float = 10) -> list[Frame]:
    """Return the first batch for which something holds."""
    end = time.monotonic() + limit_s
    for frames in source:
        if holds(frames):
            return frames
        assert time.monotonic() < end, "it never held"
    raise AssertionError("the stream ended")


def test_a_slow_consumer_gets_the_newest_frame_and_never_falls_behind() -> None:
    with camera(pause_s=0.005) as served:
        lags, gaps, last = [], [], 0
        for frames in opened(served.url):
            (frame,) = frames
            lags.append(served.shown - frame.number)
            gaps.append(frame.number - last)
            last = frame.number
            assert number_in(frame.picture.image) == (frame.number - 1) % 1024
            if len(lags) == 12:
                break
            time.sleep(0.05)
    assert max(lags) <= 5, "what is looked at is the newest, not what waited"
    assert sum(gaps[1:]) > 3 * len(gaps), "frames that nobody had time for are left out"


def test_of_the_frames_of_a_stream_every_so_many_are_looked_at() -> None:
    with camera(pause_s=0.02) as served:
        source = opened(served.url, stride=3)
        assert {next(source)[0].number % 3 for _ in range(4)} == {1}


def test_a_stream_that_dies_is_reported_by_name_and_retried_until_it_is_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with camera() as served, camera() as other:
        source = opened(served.url, other.url, patience=Patience(0.05, 0.2, give_up_s=60))
        until(source, lambda frames: any(frame.item.number == 1 for frame in frames))
        served.stop()
        end = time.monotonic() + 0.8
        for frames in source:  # the other one goes on
            if time.monotonic() > end and any(frame.item.number == 2 for frame in frames):
                break
        served.start()
        until(source, lambda frames: any(frame.item.number == 1 for frame in frames))
    told = capsys.readouterr().err
    pauses = [float(pause) for pause in re.findall(rf"stream 1/2 {served.url} .*trying again in (\S+) s", told)]
    assert pauses[:4] == [0.05, 0.1, 0.2, 0.2], "growing pauses, and no longer than the longest"
    assert f"stream 1/2 {served.url} has fallen silent" in told
    assert f"stream 1/2 {served.url} answers after " in told
    assert "stream 2/2" not in told


def test_when_all_streams_are_silent_for_the_stated_time_the_run_ends_with_one_error() -> None:
    with camera() as served:
        source = opened(served.url)
        next(source)
        served.stop()
        started = time.monotonic()
        with pytest.raises(EnvironmentFault, match=rf"the stream is silent since 1 s: {served.url}; --stream-timeout"):
            list(source)
        assert 0.9 < time.monotonic() - started < 4


def test_a_source_of_streams_of_which_none_opens_is_an_error_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(EnvironmentFault, match=f"the stream does not open: {NOWHERE}, {NOWHERE}"):
        next(opened(NOWHERE, NOWHERE, patience=Patience()))
    with pytest.raises(EnvironmentFault, match="no such camera: 77"):
        next(opened("77", patience=Patience()))
    assert time.monotonic() - started < 5


def test_a_stream_that_does_not_open_leaves_the_others_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with camera() as served:
        (frame,) = until(opened(NOWHERE, served.url), lambda frames: True)
        assert frame.item.number == 2
        (frame,) = until(source := opened(NOWHERE, served.url), lambda frames: True)
        for _ in range(30):
            next(source)
    assert f"stream 1/2 {NOWHERE} does not open; trying again" in capsys.readouterr().err


def test_a_fault_of_a_reader_arrives_where_frames_are_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(item: Item) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(streams, "_opened", broken)
    with pytest.raises(ZeroDivisionError):
        next(opened("0"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bright_spot: Any) -> Any:
    """An empty working folder and the known detector, which is returned."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "load_network", lambda *_: bright_spot)
    return bright_spot


def run(source: str, **flags: Any) -> Path:
    return predict(PredictConfig(weights=("w.pt",), source=source, device="cpu", imgsz=(192,), **flags))


def after(place: Any, monkeypatch: pytest.MonkeyPatch, passes: int, act: Callable[[], None]) -> None:
    """Let something happen when the network has seen so many batches; it is slower than the cameras."""
    plain = type(place).__call__

    def watched(network: Any, images: Any) -> Any:
        time.sleep(0.03)
        if len(network.inputs) == passes:
            act()
        return plain(network, images)

    monkeypatch.setattr(type(place), "__call__", watched)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_a_run_on_streams_with_complete_files(
    place: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    after(place, monkeypatch, 15, lambda: os.kill(os.getpid(), number))
    with camera() as one, camera() as two:
        Path("all.streams").write_text(f"{one.url}\n{two.url}\n")
        folder = run("all.streams")
        names = sorted(path.name for path in folder.glob("[!.]*"))
    assert names == sorted(f"127.0.0.1_{url.split(':')[2].replace('/', '_')}.mp4" for url in (one.url, two.url))
    counts = [len(frames_of(folder / name)) for name in names]
    numbers = [number_in(frame) for frame in frames_of(folder / names[0])]
    assert numbers == sorted(set(numbers)), "each frame once, in order"
    assert f"{sum(counts)} frames of 2 videos done, results in {folder}" in capsys.readouterr().out
    assert max(shape[0] for shape in place.seen) == 2, "streams go through the network together"


def test_a_run_whose_stream_is_gone_for_good_keeps_what_it_has(
    place: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with camera() as served:
        after(place, monkeypatch, 10, served.stop)
        with pytest.raises(EnvironmentFault, match="the stream is silent since 0 s"):
            run(served.url, stream_timeout=0.3, save_txt=True)
    (video,) = Path("runs/detect/exp").glob("*.mp4")
    assert len(frames_of(video)) >= 9
    assert "frames of 1 video done" in capsys.readouterr().out


def test_a_stream_that_does_not_open_leaves_no_folder_and_no_password_on_the_screen(
    place: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EnvironmentFault) as error:
        run("http://me:secret@127.0.0.1:9/live")
    assert "secret" not in str(error.value) + "".join(capsys.readouterr())
    assert not Path("runs").exists()


def test_the_camera_of_these_tests_is_one(place: Any) -> None:
    """What the other tests rely on: it refuses when it is off, and goes on at the same address."""
    served = Camera()
    served.start()
    address = served.url
    served.stop()
    with pytest.raises(EnvironmentFault):
        next(opened(address))
    served.start()
    assert served.url == address
    assert next(opened(address))[0].number >= 1
    served.stop()
