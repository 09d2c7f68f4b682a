"""A search as it is typed: by `tune` or by YOLOv5's flags of training, and the words that repeat it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from accel_yolo.config.flags import parse
from accel_yolo.config.search_words import AskedSearch, asked_search
from accel_yolo.errors import ConfigError

TRAINING = "--data demo --weights '' --cfg yolov5n.yaml --epochs 3 --freeze 0 1 --cos-lr --patience=5 --processes 2"


def asked(command: str, line: str) -> AskedSearch:
    found = asked_search(parse(command, shlex.split(line)))
    assert found is not None
    return found


def test_a_training_is_no_search() -> None:
    assert asked_search(parse("train", ["--data", "demo"])) is None
    assert asked_search(parse("val", [])) is None


def test_the_words_of_a_trial_mean_what_was_typed() -> None:
    search = asked("tune", f"--trials 7 --study s --search lr0 mosaic --hyp scratch-med --quiet {TRAINING}")
    again, typed = parse("train", search.training_words()), parse("train", shlex.split(TRAINING))
    assert (again.values, again.launch) == (typed.values, typed.launch), "neither the search nor the recipe is in them"
    assert search.search.trials == 7 and search.search.search == ("lr0", "mosaic")
    assert search.config.epochs == 3


def test_a_resumed_trial_gets_only_what_may_be_typed_again() -> None:
    words = asked("tune", f"--device cpu --workers 0 {TRAINING}").resuming_words()
    parsed = parse("train", words)
    assert parsed.values == {"data": ("demo",), "epochs": 3, "patience": 5, "device": "cpu", "workers": 0}
    assert parsed.launch == {"processes": 2}


@pytest.mark.parametrize("command", ["tune", "train"])
def test_the_command_that_continues_a_study_asks_for_the_same(command: str) -> None:
    own = "--search lr0 mosaic --no-prune --trials 9 --study s" if command == "tune" else "--evolve 9 --name s"
    first = asked(command, f"{own} --hyp scratch-med {TRAINING}")
    name, *words = shlex.split(first.command(Path("there")))
    assert name == "tune"
    again = asked("tune", shlex.join(words))
    assert again.config == first.config if command == "tune" else again.config.hyp == first.config.hyp
    assert (again.search.trials, again.search.study) == (9, "there")
    assert (again.search.search, again.search.no_prune) == (first.search.search, first.search.no_prune)
    assert (again.training_words(), again.launch) == (first.training_words(), first.launch)


def test_a_resumed_trial_gets_the_users_augmentation_which_no_run_keeps() -> None:
    words = asked("tune", "--data demo --epochs 3 --augment-with mine:grainy").resuming_words()
    assert parse("train", words).values == {"data": ("demo",), "epochs": 3, "augment_with": "mine:grainy"}


def test_evolve_is_the_same_search_in_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "evolve" / "exp").mkdir(parents=True)
    (tmp_path / "runs" / "evolve" / "exp" / "study.yaml").touch()
    alone = asked("train", "--evolve --data demo")
    assert (alone.search.trials, alone.search.study, alone.is_new) == (300, "runs/evolve/exp", True)
    named = asked("train", "--evolve 5 --project p --name n --exist-ok --evolve_population hyps --data demo")
    assert (named.search.trials, named.search.study, named.is_new) == (5, "p/n", False)
    assert named.search.population == "hyps"
    continued = asked("train", "--resume_evolve runs/evolve/exp --evolve 9 --data demo")
    assert (continued.search.trials, continued.search.study, continued.is_new) == (9, "runs/evolve/exp", False)


@pytest.mark.parametrize(
    ("command", "line", "message"),
    [
        (
            "train",
            "--evolve_population hyps",
            "no search that it belongs to in --evolve_population: hyps; add --evolve",
        ),
        ("train", "--evolve --resume", "a search does not continue a training in --resume: auto; .*--resume_evolve"),
        ("train", "--evolve --machines 2", "each trial trains on one machine in --machines: 2; .*--study"),
        ("train", "--resume_evolve typo", "there is no study in --resume_evolve: typo"),
        ("tune", "--batch -1 --data demo", "every trial would choose a batch of its own in --batch: -1; give a number"),
        ("train", "--evolve 0", "wrong value in --evolve: 0; give a whole number of at least 1"),
        ("tune", "--search learning_rate", "wrong value in --search: learning_rate; give one of lr0, lrf, "),
        ("tune", "--search mosiac", "did you mean 'mosaic'"),
        ("tune", "--trials none", "wrong value in --trials: none"),
        ("tune", "--epochs 0", "wrong value in --epochs: 0"),
        ("tune", "--resume", "unknown flag in the command line: --resume"),
        ("tune", "--name x", "unknown flag in the command line: --name"),
        ("tune", "--nosave", "unknown flag in the command line: --nosave"),
    ],
)
def test_wrong_use_is_named(command: str, line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        asked_search(parse(command, line.split()))


def test_the_commands_of_the_guide_are_searches() -> None:
    lines = (Path(__file__).resolve().parents[3] / "docs" / "tuning.md").read_text().splitlines()
    shown = [line.removesuffix(" &") for line in lines if line.startswith("accel-yolo tune ")]
    assert len(shown) == 3
    for line in shown:
        assert asked("tune", line.removeprefix("accel-yolo tune ")).search.trials in (8, 30)
