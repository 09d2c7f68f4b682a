"""A study: each trial is begun once, belongs to whoever lives, and is taken over from whoever does not."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from accel_yolo.config.genes import chosen_genes
from accel_yolo.config.hyp_file import read_hyp_file
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.config.yaml_io import load_yaml
from accel_yolo.engine.rows import COLUMNS
from accel_yolo.engine.search_journal import JournalLock
from accel_yolo.engine.search_results import write_results
from accel_yolo.engine.search_settings import StudySettings
from accel_yolo.engine.search_study import JOURNAL, Claim, Study, require_optuna
from accel_yolo.engine.search_trial import EpochResult
from accel_yolo.engine.trial_lock import TrialLock
from accel_yolo.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("lr0", "mosaic", "scale")


def settings_of(*, prune: bool = True, names: tuple[str, ...] = NAMES, **changes: Any) -> StudySettings:
    config = TrainConfig(**{"cfg": "yolov5n", "weights": "", "epochs": 8, **changes})
    return StudySettings.of(config, chosen_genes(names, config), prune=prune)


def opened(folder: Path, **changes: Any) -> Study:
    require_optuna()
    settings = settings_of(**changes)
    return Study.open(folder, settings, [settings.start])


def claimed(study: Study, trials: int = 100) -> Claim:
    claim = study.claim(trials)
    assert claim is not None
    return claim


def values_of(claim: Claim) -> dict[str, float]:
    read = read_hyp_file(claim.folder.path / "hyp.yaml")
    return {name: read[name] for name in NAMES}


def write_epochs(claim: Claim, fitness: list[float]) -> list[EpochResult]:
    """Write the table of results that a training would have written, with mAP50 and mAP50-95 equal to the fitness."""
    lines = [",".join(COLUMNS)]
    for epoch, value in enumerate(fitness):
        row = dict.fromkeys(COLUMNS, 0.5) | {"epoch": epoch, "metrics/mAP_0.5": value, "metrics/mAP_0.5:0.95": value}
        lines.append(",".join(f"{row[name]:20.5g}" for name in COLUMNS))
    (claim.folder.path / "results.csv").write_text("\n".join(lines) + "\n")
    return claim.folder.results


def finished(study: Study, fitness: list[float]) -> Claim:
    claim = claimed(study)
    study.report(claim, write_epochs(claim, fitness))
    study.finish(claim, "complete")
    claim.lock.release()
    return claim


def test_the_first_trial_is_the_starting_recipe_and_its_file_is_complete(tmp_path: Path) -> None:
    claim = claimed(opened(tmp_path / "s"))
    read = read_hyp_file(claim.folder.path / "hyp.yaml")
    assert claim.number == 0
    assert Hyp(**read) == Hyp()


def test_two_processes_never_work_on_one_trial(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "s"), opened(tmp_path / "s")
    claims = [claimed(first), claimed(second), claimed(first), claimed(second)]
    assert [claim.number for claim in claims] == [0, 1, 2, 3]
    assert len({tuple(values_of(claim).values()) for claim in claims}) == 4
    assert first.claim(4) is None and second.claim(4) is None, "all have begun, and whoever began them lives"


@pytest.mark.slow
def test_many_processes_at_once_begin_every_trial_exactly_once(tmp_path: Path) -> None:
    opened(tmp_path / "s")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from test_search_study import opened, write_epochs\n"
        "study = opened(Path(sys.argv[2]))\n"
        "print(flush=True)\n"
        "sys.stdin.readline()\n"
        "while claim := study.claim(12):\n"
        "    study.report(claim, write_epochs(claim, [0.1]))\n"
        "    study.finish(claim, 'complete')\n"
        "    claim.lock.release()\n"
        "    print(claim.number, flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path / "s")]
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, cwd=ROOT, **streams) for _ in range(3)]
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline() == "\n"
    begun = [int(word) for worker in workers for word in worker.communicate("go\n", timeout=120)[0].split()]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert sorted(begun) == list(range(12))
    assert [(row.number, row.state) for row in opened(tmp_path / "s").rows()] == [(n, "complete") for n in range(12)]


def test_a_trial_whose_process_is_gone_is_taken_over_as_it_was(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "s"), opened(tmp_path / "s")
    claimed(first)
    lost = claimed(first)
    first.report(lost, write_epochs(lost, [0.1, 0.2]))
    before = values_of(lost)
    lost.lock.release()  # as the kernel does when a process ends
    again = claimed(second)
    assert (again.number, again.taken_over, values_of(again)) == (lost.number, True, before)
    assert again.reported == {0, 1}, "what the study knows it is not told again"
    second.report(again, write_epochs(again, [0.1, 0.2, 0.3]))
    logged = [json.loads(line) for line in (tmp_path / "s" / JOURNAL).read_text().splitlines()]
    assert [line["step"] for line in logged if "intermediate_value" in line] == [0, 1, 2]


def test_a_trial_interrupted_while_its_values_were_chosen_gets_those_it_would_have_had(tmp_path: Path) -> None:
    whole = opened(tmp_path / "whole")
    finished(whole, [0.1])
    wanted = values_of(claimed(whole))
    torn = opened(tmp_path / "torn")
    finished(torn, [0.1])
    torn._seeded(1).ask().suggest_float("lr0", 1e-5, 1e-1, log=True)  # and no more, and nobody holds it
    again = claimed(opened(tmp_path / "torn"))
    assert again.number == 1 and again.taken_over
    assert values_of(again)["lr0"] == wanted["lr0"]
    assert set(values_of(again)) == set(NAMES)


def test_the_lock_of_a_trial_is_held_until_the_training_it_was_given_to_has_ended(tmp_path: Path) -> None:
    lock = TrialLock.taken(tmp_path / "lock")
    assert lock is not None
    assert TrialLock.taken(tmp_path / "lock") is None
    training = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock.descriptor,), stderr=subprocess.DEVNULL
    )
    lock.release()
    assert TrialLock.taken(tmp_path / "lock") is None, "its worker is gone, the training is not"
    training.communicate(b"\n", timeout=30)
    assert TrialLock.taken(tmp_path / "lock") is not None


def test_half_a_line_of_a_killed_writer_is_dropped_and_the_study_goes_on(tmp_path: Path) -> None:
    study = opened(tmp_path / "s")
    finished(study, [0.1])
    journal = tmp_path / "s" / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 5, "worker_i')
    finished(study, [0.2])  # the process that goes on
    assert journal.read_bytes().startswith(whole + b"{")
    assert [row.fitness for row in opened(tmp_path / "s").rows()] == pytest.approx([0.1, 0.2])


@pytest.mark.parametrize("content", [b"", b"half", b"one\n", b"one\ntwo", b"x" * 200_000, b"one\n" + b"x" * 200_000])
def test_a_journal_ends_with_a_whole_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    lock = JournalLock(path)
    assert lock.acquire()
    lock.release()
    assert path.read_bytes() == content[: content.rfind(b"\n") + 1]


def test_a_trial_below_the_median_of_the_others_is_ended_and_one_above_is_not(tmp_path: Path) -> None:
    study = opened(tmp_path / "s")
    for best in (0.2, 0.3, 0.4, 0.5, 0.6):
        finished(study, [best / 4, best / 2, best * 0.9, best])
    good, bad = claimed(study), claimed(study)
    study.report(good, write_epochs(good, [0.1, 0.2, 0.5]))
    study.report(bad, write_epochs(bad, [0.01, 0.02, 0.03]))
    assert study.falls_behind(bad) and not study.falls_behind(good)
    calm = Study.open(tmp_path / "n", settings_of(prune=False), [])
    calm._study.add_trials(study._study.get_trials())
    worst = claimed(calm)
    calm.report(worst, write_epochs(worst, [0.0, 0.0, 0.0]))
    assert not calm.falls_behind(worst)


def test_equal_seeds_choose_equal_trials_and_other_seeds_others(tmp_path: Path) -> None:
    chosen = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        study = opened(tmp_path / name, seed=seed)
        chosen[name] = [values_of(finished(study, [value])) for value in (0.1, 0.3, 0.2)]
    assert chosen["a"] == chosen["b"] != chosen["c"]
    assert chosen["a"][0] == chosen["c"][0], "the starting recipe"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 9}, "the study was begun with something else in --epochs: 9; .*begun with 8"),
        ({"names": ("lr0", "mosaic")}, "in --search, scale: nothing; .*begun with low 0.0, high 0.9"),
        ({"prune": False}, "in --no-prune: off; .*begun with on"),
        ({"hyp": Hyp(box=0.1)}, "in hyper-parameter box: 0.1; .*begun with 0.05: give the same, or choose another"),
    ],
)
def test_a_study_is_not_continued_as_another_one(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    finished(opened(tmp_path / "s"), [0.1])
    with pytest.raises(ConfigError, match=message):
        opened(tmp_path / "s", **changes)


def test_what_only_concerns_a_machine_may_differ_between_processes(tmp_path: Path) -> None:
    finished(opened(tmp_path / "s"), [0.1])
    assert len(opened(tmp_path / "s", workers=1, device="cpu", cache="ram").rows()) == 1


def test_a_study_without_any_result_may_begin_anew_with_other_settings(tmp_path: Path) -> None:
    claim = claimed(opened(tmp_path / "s"))
    with pytest.raises(ConfigError, match="--epochs"):
        opened(tmp_path / "s", epochs=9)  # somebody is at work
    claim.lock.release()
    again = claimed(opened(tmp_path / "s"))
    assert again.number == 0 and again.taken_over, "with the same settings it goes on"
    again.lock.release()
    study = opened(tmp_path / "s", epochs=9)
    begun = claimed(study)
    assert begun.number == 0 and not begun.taken_over
    assert load_yaml(tmp_path / "s" / "study.yaml").data["train"]["epochs"] == 9


@pytest.mark.parametrize("name", ["photo.jpg", "journal.log", "hyp.yaml", "trials.csv", "tune.png.bak", "study.lock2"])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ConfigError, match="not a study, and not empty in --study"):
        opened(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "study.lock"] == [name]
    assert (tmp_path / name).read_bytes() == b"mine"


def test_a_study_that_was_interrupted_while_it_began_begins_again(tmp_path: Path) -> None:
    settings_of().save(tmp_path)
    (tmp_path / f".{JOURNAL}").write_bytes(b"half")
    assert claimed(opened(tmp_path)).number == 0


def test_a_table_of_results_that_is_none_has_no_results(tmp_path: Path) -> None:
    claim = claimed(opened(tmp_path))
    for text in ("", "a,b\n1,2\n", ",".join(COLUMNS) + "\n1,2\n"):
        (claim.folder.path / "results.csv").write_text(text)
        assert claim.folder.results == []


def test_table_recipe_and_picture_tell_what_came_out_and_only_the_best_weights_stay(tmp_path: Path) -> None:
    study = opened(tmp_path / "s")
    for fitness in ([0.1, 0.3, 0.2], [0.1, 0.4], [0.2, 0.1]):
        claim = finished(study, fitness)
        (claim.folder.path / "weights").mkdir()
        (claim.folder.path / "checkpoints").mkdir()
    failed, running = claimed(study), claimed(study)
    study.finish(failed, "failed", "no memory, no luck")
    (running.folder.path / "checkpoints").mkdir()
    write_results(study)
    with (tmp_path / "s" / "trials.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["state"] for row in rows] == ["complete", "complete", "complete", "failed", "running"]
    assert [row["fitness"] for row in rows] == ["0.3", "0.4", "0.2", "", ""]
    assert [row["epoch"] for row in rows] == ["1", "1", "0", "", ""]
    assert rows[1]["metrics/mAP_0.5:0.95"] == "0.4" and rows[3]["error"] == "no memory, no luck"
    text = (tmp_path / "s" / "hyp.yaml").read_text()
    assert "# Hyper-parameters of trial 1, the best of 3 complete ones" in text
    best = read_hyp_file(tmp_path / "s" / "hyp.yaml")
    assert {name: float(rows[1][name]) for name in best} == best, "the table has every hyper-parameter"
    assert cv2.imread(str(tmp_path / "s" / "tune.png")) is not None
    left = sorted(path.relative_to(study.trials).as_posix() for path in study.trials.glob("*/*/"))
    assert left == ["0001/weights", "0004/checkpoints"]
