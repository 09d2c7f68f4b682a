"""Messages go where they belong, coloured only on a terminal, silent when quiet."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from accel_yolo import console


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


@pytest.fixture(autouse=True)
def _colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_remarks_warnings_and_errors_go_to_stderr_results_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    console.note("a")
    console.warn("b")
    console.error_line("c")
    console.say("d")
    captured = capsys.readouterr()
    assert captured.err == "note: a\nwarning: b\nerror: c\n"
    assert captured.out == "d\n"


def test_a_process_that_leaves_the_word_to_another_warns_of_what_it_alone_sees(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console.quiet()
    console.warn("stalled", everywhere=True)
    assert capsys.readouterr().err == "", "the first process was asked to be quiet"
    monkeypatch.setenv("RANK", "1")
    console.warn("stalled", everywhere=True)
    console.warn("the leader says it too")
    assert capsys.readouterr().err == "warning: stalled\n"


def test_a_quiet_process_speaks_of_errors_only(capsys: pytest.CaptureFixture[str]) -> None:
    console.quiet()
    console.note("a")
    console.warn("b")
    console.say("d")
    console.table([["x", 1]])
    assert list(console.progress([1, 2], desc="work")) == [1, 2]
    console.error_line("c")
    captured = capsys.readouterr()
    assert captured.err == "error: c\n"
    assert captured.out == ""


def test_details_are_told_when_asked_for_and_are_in_the_log_file_in_any_case(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    console.log_to(tmp_path / "log.txt")
    console.detail("read from the cache")
    console.verbose()
    console.detail("8 threads")
    console.quiet()
    console.detail("silent")
    assert capsys.readouterr().err == "detail: 8 threads\n"
    logged = [line.split(" ", 2)[2] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert logged == ["detail: read from the cache", "detail: 8 threads", "detail: silent"]


def test_colours_only_on_a_terminal_and_not_against_the_users_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    console.warn("x")
    assert sys.stderr.getvalue() == "\033[33mwarning:\033[0m x\n"  # type: ignore[attr-defined]
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", Terminal())
    console.warn("x")
    assert sys.stderr.getvalue() == "warning: x\n"  # type: ignore[attr-defined]


def test_columns_are_aligned_numbers_right_text_left(capsys: pytest.CaptureFixture[str]) -> None:
    console.table([["all", 128, 0.56], ["traffic light", 5, 0.1234567]], header=("class", "images", "mAP50"))
    assert capsys.readouterr().out == (
        "class          images   mAP50\nall               128    0.56\ntraffic light       5  0.1235\n"
    )


def test_rows_printed_one_by_one_keep_the_columns_they_are_given() -> None:
    assert console.aligned([["a", 1]], widths=(4, 6)) == ["a          1"]
    assert console.aligned([]) == []
    assert console.aligned([["a"], ["bb", 2]]) == ["a", "bb  2"]


def test_what_a_stream_cannot_encode_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    console.say("höhe \udcff")
    assert raw.getvalue() == b"h\\xf6he \\udcff\n"


def test_a_remark_never_commands_the_terminal_whatever_names_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    console.verbose()
    for speak in (console.note, console.warn, console.error_line, console.detail):
        speak("\x1b[2Jcaf\udce9\n.jpg")
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" ")[2] for line in said] == ["\\x1b[2Jcaf\\xe9\\n.jpg"] * 4


def test_a_follower_is_told_by_its_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert (console.is_follower(), console.is_first_here()) == (False, True)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert (console.is_follower(), console.is_first_here()) == (True, False)


def test_the_log_file_holds_every_line_without_colours_also_when_quiet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    console.log_to(tmp_path / "log.txt")
    console.say(console.painted("done", "green"))
    console.quiet()
    console.warn("careful \udcff")
    console.table([["x", 1]], header=("name", "n"))
    console.log("only here")
    lines = [line.split(" ", 2)[2] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert lines == ["done", "warning: careful \\udcff", "name  n", "x     1", "only here"]
    assert sys.stdout.getvalue() == "\033[32mdone\033[0m\n"  # type: ignore[attr-defined]


def test_a_log_file_that_cannot_be_written_does_not_hide_the_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console.log_to(tmp_path / "gone" / "log.txt")
    console.error_line("disk full")
    assert capsys.readouterr().err == "error: disk full\n"
