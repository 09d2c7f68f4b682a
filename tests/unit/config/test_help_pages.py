"""Pages of --help: as wide as the terminal, with values, defaults and examples that work."""

from __future__ import annotations

import shlex

import pytest

from accel_yolo import cli
from accel_yolo.config.examples import EXAMPLES
from accel_yolo.config.flags import ALIASES, COMMANDS, build_parser, parse
from accel_yolo.config.help_pages import PURPOSES, listed
from accel_yolo.config.shipped import RELEASED


def page(command: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    return build_parser(command).format_help()


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_is_wider_than_the_terminal_but_commands_to_copy(
    command: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in page(command, columns, monkeypatch).splitlines():
        assert len(line) <= min(columns, 120) or line.startswith("  $ "), line


@pytest.mark.parametrize("command", COMMANDS)
def test_each_page_ends_with_two_or_three_commands_that_can_be_typed(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = page(command, 80, monkeypatch).partition("\nexamples:\n")[2].splitlines()
    assert shown == [f"  $ {line}" for line in EXAMPLES[command]]
    assert 2 <= len(shown) <= 3
    for line in EXAMPLES[command]:
        words = shlex.split(line.partition(" > ")[0])
        assert words[: 1 + len(command.split())] == ["accel-yolo", *command.split()]
        parse(command, words[1 + len(command.split()) :])


def test_examples_are_of_commands_that_there_are() -> None:
    assert set(COMMANDS) <= set(EXAMPLES)


def test_each_value_says_what_it_may_be_and_what_it_is_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    text = page("train", 120, monkeypatch)
    assert "  --optimizer SGD|Adam|AdamW " in text
    assert "  --batch, --batch-size N " in text
    assert "  --data FILE ... " in text
    assert "  --resume [RUN] " in text
    assert "passes over the training images (default 100)" in text
    task = " ".join(page("val", 80, monkeypatch).split())
    assert "--task val|train|test|speed|study " in task
    assert "(default val)" in task


def test_what_is_typed_in_most_runs_comes_before_processes_and_what_does_not_work_comes_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = page("train", 80, monkeypatch)
    headings = ["model and data", "recipe", "output", "processes", "several machines", "do not go together", "examples"]
    places = [text.index(f"\n{heading}:\n") for heading in headings]
    assert places == sorted(places)
    assert text.startswith("usage: accel-yolo train [flags]\n")
    assert page("convert", 80, monkeypatch).startswith("usage: accel-yolo convert SOURCE [DESTINATION] [flags]\n")


def test_every_command_stands_under_one_heading_of_the_list() -> None:
    assert [heading for heading, _ in listed(COMMANDS)] == list(PURPOSES)
    names = [name for _, names in listed(COMMANDS) for name in names]
    assert sorted(names) == sorted(COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, *ALIASES])
def test_help_with_a_command_is_its_page(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help", *command.split()]) == 0
    asked = capsys.readouterr().out
    assert cli.main([*command.split(), "--help"]) == 0
    assert asked == capsys.readouterr().out
    assert asked.startswith(f"usage: accel-yolo {command}")


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["trian"], "did you mean 'train'?"),
        (["data", "chekc"], "did you mean 'data check'?"),
        (["dta", "check"], "did you mean 'data'?"),
        (["info", "x"], "give one of info weights"),
        (["help", "vla"], "did you mean 'val'?"),
    ],
)
def test_a_mistyped_command_is_told_the_near_one(
    words: list[str], remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert capsys.readouterr().err.endswith(f"; {remedy}\n")


def test_released_weights_are_known_without_a_network_library() -> None:
    assert len(set(RELEASED)) == 10
    assert "yolov5s.pt" in RELEASED
