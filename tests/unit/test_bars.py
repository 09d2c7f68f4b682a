"""Progress: a bar that fits its terminal, whole lines in a file, nothing when quiet."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable

import pytest

from accel_yolo import bars, console

PARTS = ("61.2 images/s", "ETA 1:02:03", "box 0.0421 obj 0.0213 cls 0.0123", "data wait 2%", "1.9 GiB", "GPU 5.3 GiB")


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(bars.Lines, "_last_s", None)


def on_a_terminal(columns: int, work: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a terminal of so many columns is sent while some work runs."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    received: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(master, received))
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        reader.start()
        work()
        stream.flush()
    reader.join()
    os.close(master)
    return b"".join(received).decode()


def _read_all(master: int, received: list[bytes]) -> None:
    try:
        while piece := os.read(master, 65536):
            received.append(piece)
    except OSError:  # the other end is closed
        pass


def an_epoch() -> None:
    with console.progress(None, 3000, "epoch 12/100", "step") as bar:
        for step in range(3000):
            if step % 10 == 0:
                bar.tell(*PARTS)
            if step % 1000 == 0:
                time.sleep(0.11)  # tqdm draws ten times a second
            bar.update()
            if step == 1500:
                console.note("between")


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120, 250])
def test_a_bar_stays_within_one_line_of_its_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = on_a_terminal(columns, an_epoch, monkeypatch)
    drawn = [line for line in sent.replace("\r\n", "\n").replace("\n", "\r").split("\r") if "epoch" in line]
    assert max(len(line) for line in drawn) < columns
    assert len(drawn) >= 3
    assert sent.count("\n") == 1, "the remark is the only line that stays"
    assert "between" in sent


def test_narrow_terminals_keep_what_matters_most() -> None:
    def line(width: int) -> str:
        return bars.fitted("epoch 12/100", (0.42, "1234/2891"), PARTS, width, False)

    assert line(30) == "epoch 12/100  42%"
    assert line(40) == "epoch 12/100  42%, 61.2 images/s"
    assert line(50) == "epoch 12/100  42%, 61.2 images/s, ETA 1:02:03"
    assert line(79).endswith("| 1234/2891, 61.2 images/s, ETA 1:02:03")
    assert line(79).startswith("epoch 12/100  42% |███")
    assert line(180).endswith(", ".join(("1234/2891", *PARTS)))
    for width in range(8, 200):
        assert len(line(width)) <= width
    assert "#" in bars.fitted("epoch", (0.42, "1/2"), (), 80, True), "a terminal without blocks"


def test_names_that_take_two_columns_a_letter_are_measured_so() -> None:
    assert bars.fitted("영상-영상", (0.5, "1/2"), ("1 image/s",), 26, False) == "영상-영상  50%, 1 image/s"
    assert bars.fitted("영상-영상", (0.5, "1/2"), ("1 image/s",), 24, False) == "영상-영상  50%"


def some_lines(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> list[str]:
    monkeypatch.setattr(bars, "LINE_EVERY_S", 0.05)
    monkeypatch.setattr(bars, "_LEAST_S", 0.0)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    work()
    text = stream.getvalue()
    assert text.endswith("\n") or not text
    assert all(letter.isprintable() or letter == "\n" for letter in text), "no control characters, no carriage returns"
    return text.splitlines()


def test_in_a_pipe_each_line_is_whole_and_says_where_the_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = some_lines(monkeypatch, an_epoch)
    told = [line for line in lines if line != "note: between"]
    assert told
    for line in told:
        assert line.startswith("epoch 12/100: ") and "/3000 steps (" in line
        assert line.endswith(", ".join(PARTS))


def test_without_parts_it_tells_rate_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        for _ in console.progress(range(4), 8, "verifying train"):
            time.sleep(0.06)

    lines = some_lines(monkeypatch, work)
    assert lines[0].startswith("verifying train: 1/8 images (12%), ")
    assert lines[0].endswith(" left")
    assert " images/s, " in lines[0]


def test_a_name_never_commands_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        with console.progress(None, None, "download \x1b[2J\r\nx", "B") as bar:
            time.sleep(0.06)
            bar.update(3 << 20)

    (line,) = some_lines(monkeypatch, work)
    assert line.startswith("download \\x1b[2J\\r\\nx: 3.0 MiB, ")
    assert line.endswith(" MiB/s")


def test_short_work_says_nothing_and_many_short_works_say_a_line_every_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def short_epochs() -> None:
        for epoch in range(12):
            for _ in console.progress(range(2), 2, f"epoch {epoch + 1}/12", "step"):
                time.sleep(0.01)

    assert 1 <= len(some_lines(monkeypatch, short_epochs)) <= 12
    monkeypatch.setattr(bars.Lines, "_last_s", None)
    monkeypatch.setattr(bars, "LINE_EVERY_S", 10.0)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    short_epochs()
    assert stream.getvalue() == ""


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_a_dumb_terminal_gets_lines(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(bars, "LINE_EVERY_S", 0.05)
    monkeypatch.setattr(bars, "_LEAST_S", 0.0)
    sent = on_a_terminal(80, an_epoch, monkeypatch).replace("\r\n", "\n")
    assert ("\r" in sent) == (term == "xterm")


def test_quiet_work_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    console.quiet()
    assert some_lines(monkeypatch, an_epoch) == []
    assert list(console.progress(iter("abc"), 3)) == ["a", "b", "c"]
    assert on_a_terminal(80, an_epoch, monkeypatch) == ""


def test_a_loop_that_is_left_early_takes_its_bar_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        shown = iter(console.progress(range(100), 100, "checking"))
        next(shown)
        shown.close()  # type: ignore[attr-defined]
        console.error_line("broken")

    sent = on_a_terminal(60, work, monkeypatch)
    assert sent.endswith("error:\x1b[0m broken\r\n")
    assert sent.split("\r")[-3].strip() == "", "the bar was wiped out before"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0:00"), (65.4, "1:05"), (3599.6, "1:00:00"), (7384, "2:03:04"), (363600, "4.2 days"), (-1, "0:00")],
)
def test_durations_are_short(seconds: float, words: str) -> None:
    assert bars.duration(seconds) == words
