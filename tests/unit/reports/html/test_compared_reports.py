"""`accel-yolo report`: several runs side by side, and the words a user may mistype."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import clean_process
from report_runs import CONTINUED, HOSTILE, INTERRUPTED, MEASURED, NAME, OLD, WHOLE, ReportRuns
from test_run_reports import Page

from accel_yolo.cli import run
from accel_yolo.reports.html.compare_page import compare_page, verdict
from accel_yolo.reports.html.comparison import (
    differing_classes,
    differing_environment,
    differing_settings,
    differing_sizes,
    letter_of,
    members_of,
    not_comparable,
    summary,
)
from accel_yolo.reports.html.run import read_run

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Typed]:
    """Return a function that types `accel-yolo report ...` in an empty folder and returns (status, stdout, stderr)."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    cleaning = clean_process()
    next(cleaning)

    def report(*words: object) -> tuple[int, str, str]:
        code = run("report", [str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    yield report
    next(cleaning, None)


def with_metrics(folder: Path, **changes: object) -> Path:
    """Change numbers in the `metrics.json` of a copied run."""
    path = folder / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def test_two_runs_are_compared_on_a_page_and_in_the_terminal(
    typed: Typed, report_runs: ReportRuns, tmp_path: Path
) -> None:
    better = with_metrics(report_runs.copied(WHOLE, tmp_path / "better"), map50_95=0.5, map50=0.25)
    code, out, err = typed(report_runs[WHOLE], better)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == [
        "Run",
        *["State", "mAP50-95", "mAP50", "P", "R", "Epochs", "Best", "epoch", "Images/s", "Duration"],
    ]
    assert lines[1].startswith(f"A  whole/{NAME}") and lines[2].startswith(f"B  better/{NAME}")
    assert "0.500 *" in lines[2] and "0.250 *" in lines[2] and "*" not in lines[1].split("finished")[1]
    assert lines[-2] == f"B better/{NAME} reaches the highest mAP50-95, 0.500: 0.500 more than A whole/{NAME}."
    assert lines[-1] == "Report in compare.html"
    page = Page(Path("compare.html").read_text())
    assert lines[-2] in page.text and page.text.count("★") == 2


def test_beside_other_runs_the_comparison_lies_in_their_folder(typed: Typed, report_runs: ReportRuns) -> None:
    Path("runs").mkdir()
    assert typed(report_runs[WHOLE], report_runs[OLD])[0] == 0
    assert typed(report_runs[WHOLE], report_runs[OLD])[0] == 0, "an older one is replaced"
    assert [path.name for path in Path("runs").iterdir()] == ["compare.html"]


def test_a_comparison_never_replaces_a_file_of_the_user(typed: Typed, report_runs: ReportRuns) -> None:
    Path("notes.html").write_text("mine")
    code, out, err = typed(report_runs[WHOLE], report_runs[OLD], "--out", "notes.html")
    remedy = "move it, or give another name with --out"
    assert (code, out) == (2, "")
    assert err == f"error: the file is there and is not a report of ours: notes.html; {remedy}\n"
    assert Path("notes.html").read_text() == "mine"


def test_the_report_of_one_run_is_made_again_where_it_was_or_elsewhere(
    typed: Typed,
    report_runs: ReportRuns,
    tmp_path: Path,
) -> None:
    folder = report_runs.copied(OLD, tmp_path)
    assert typed(folder) == (0, f"Report in {folder / 'report.html'}\n", "")
    assert typed(folder, folder, "--out", "one.html", "--quiet") == (0, "", ""), "named twice it is one run"
    assert Path("one.html").read_text().count("<h1>") == 1


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("runs/train/exq", "no such run: runs/train/exq; did you mean runs/train/exp?"),
        ("exp", "no such run: exp; did you mean runs/train/exp?"),
        ("runs/train", "not the folder of a run, but it holds some: runs/train; give one of: runs/train/exp"),
        ("zzzz", "no such run: zzzz; give one of: runs/train/exp"),
        ("other", "not the folder of a run: other; give one of: runs/train/exp"),
        (
            "runs/train/exp/results.csv",
            "a file where the folder of a run is needed: runs/train/exp/results.csv; "
            "did you mean its folder runs/train/exp?",
        ),
        ("marked", "nothing to report: no training or validation has written here: marked; reports are made of"),
    ],
)
def test_a_wrong_path_is_one_line_that_names_the_right_one(typed: Typed, word: str, line: str) -> None:
    for folder in ("runs/train/exp", "other", "marked"):
        Path(folder).mkdir(parents=True)
    Path("runs/train/exp/results.csv").write_text("epoch\n0\n")
    Path("marked/.accel_yolo_run").touch()
    code, out, err = typed(word)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {line}") and err.count("\n") == 1


def test_where_there_is_no_run_an_example_is_given(typed: Typed) -> None:
    remedy = "give a folder that a training or a validation wrote, such as runs/train/exp"
    assert typed("nowhere") == (2, "", f"error: no such run: nowhere; {remedy}\n")


def test_only_what_differs_is_listed_each_value_with_its_origin(report_runs: ReportRuns) -> None:
    members = members_of([report_runs[WHOLE], report_runs[CONTINUED]])
    rows = {name: [(cell.text, cell.note) for cell in cells] for name, cells in differing_settings(members)}
    assert rows["--epochs"] == [("2", "command line"), ("3", "command line")]
    assert rows["--noplots"] == [("off", "default"), ("on", "command line")]
    assert not {"--imgsz", "lr0", "--project", "--name"} & set(rows)
    assert differing_environment(members) == [], "they ran on the same machine"
    assert differing_settings(members_of([report_runs[WHOLE], report_runs[OLD]])) == []


def test_classes_are_listed_by_their_difference(report_runs: ReportRuns, tmp_path: Path) -> None:
    per_class = json.loads((report_runs[WHOLE] / "metrics.json").read_text())["per_class"]
    for place, gain in ((2, 0.5), (1, 0.25)):
        per_class[place]["map50_95"] += gain
    other = with_metrics(report_runs.copied(WHOLE, tmp_path), per_class=per_class[:3])
    rows = differing_classes(members_of([report_runs[WHOLE], other]))
    assert [name for name, _, _ in rows[:2]] == [HOSTILE[2], HOSTILE[1]]
    assert [difference for _, _, difference in rows] == ["+0.500", "+0.250", "0.000", "–"]
    assert [cell.is_best for cell in rows[0][1]] == [False, True]


def test_runs_on_different_data_are_not_ranked(report_runs: ReportRuns, tmp_path: Path) -> None:
    other = with_metrics(report_runs.copied(WHOLE, tmp_path), map50_95=0.5)
    config = other / "config.yaml"
    config.write_text(config.read_text().replace("data.yaml", "others.yaml"))
    members = members_of([report_runs[WHOLE], other])
    assert not_comparable(members) == (
        "Measured on different data (A data, B others): the metrics do not say which is better."
    )
    assert verdict(members) == "These runs were measured on different data."
    assert not any(cell.is_best for row in summary(members)[1] for cell in row)


def marks(folders: list[Path]) -> tuple[str, str, int]:
    """Return why runs do not compare, the verdict, and how many cells are marked, on the page and in all tables."""
    members = members_of(folders)
    cells = [cell for row in summary(members)[1] for cell in row]
    cells += [cell for _, row, _ in differing_classes(members) for cell in row]
    cells += [cell for _, row in differing_sizes(members) for cell in row]
    marked = sum(cell.is_best for cell in cells)
    assert Page(compare_page(members)).text.count("★") == marked
    return not_comparable(members), verdict(members), marked


def test_a_data_set_is_its_place_and_not_its_name(
    report_runs: ReportRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = with_metrics(report_runs.copied(WHOLE, tmp_path), map50_95=0.5)
    config = other / "config.yaml"
    data = str(read_run(other).settings.content.words("data")[0])  # pyright: ignore[reportOptionalMemberAccess]
    assert marks([report_runs[WHOLE], other])[2] > 0
    typed_elsewhere = config.read_text()
    monkeypatch.chdir(Path(data).parent)
    config.write_text(typed_elsewhere.replace(data, Path(data).name))
    assert marks([report_runs[WHOLE], other])[0] == "", "the same place, typed in another way"
    copy = tmp_path / "another" / Path(data).name
    copy.parent.mkdir()
    copy.write_text("")
    config.write_text(typed_elsewhere.replace(data, str(copy)))
    reason = f"Measured on different data (A {data} (val), B {copy} (val)): the metrics do not say which is better."
    assert marks([report_runs[WHOLE], other]) == (reason, "These runs were measured on different data.", 0)


def test_splits_are_not_ranked_with_each_other(report_runs: ReportRuns, tmp_path: Path) -> None:
    other = with_metrics(report_runs.copied(MEASURED, tmp_path), map50_95=0.5)
    assert marks([report_runs[WHOLE], other])[0] == "", "a training is measured on its validation split"
    config = other / "config.yaml"
    assert "task: val" in config.read_text()
    config.write_text(config.read_text().replace("task: val", "task: test"))
    reason = "Measured on different data (A data (val), B data (test)): the metrics do not say which is better."
    assert marks([report_runs[WHOLE], other]) == (reason, "These runs were measured on different data.", 0)


def test_runs_on_different_numbers_of_images_are_not_ranked(report_runs: ReportRuns, tmp_path: Path) -> None:
    other = with_metrics(report_runs.copied(WHOLE, tmp_path), map50_95=0.5, images=5)
    reason, said, marked = marks([report_runs[WHOLE], other])
    assert reason.startswith("Measured on different numbers of images (A 6, B 5)")
    assert (said, marked) == ("These runs were measured on different numbers of images.", 0)


def test_the_place_that_a_launcher_gives_a_process_is_no_difference(report_runs: ReportRuns, tmp_path: Path) -> None:
    folders = [report_runs.copied(WHOLE, tmp_path / name) for name in "ab"]
    for number, folder in enumerate(folders):
        path = folder / "environment.json"
        content = json.loads(path.read_text())
        launched = {"RANK": f"{number}", "LOCAL_RANK": f"{number}", "MASTER_PORT": f"2950{number}"}
        steering = {**launched, "OMP_NUM_THREADS": f"{number + 1}"}
        content["sessions"][-1]["environment"].update({f"env {name}": value for name, value in steering.items()})
        path.write_text(json.dumps(content))
    assert [name for name, _ in differing_environment(members_of(folders))] == ["env OMP_NUM_THREADS"]


@pytest.mark.parametrize(
    "kinds", [(WHOLE, INTERRUPTED), (OLD, MEASURED), (MEASURED, INTERRUPTED), (INTERRUPTED, "none")]
)
def test_runs_with_nothing_in_common_are_compared_too(
    report_runs: ReportRuns, tmp_path: Path, kinds: tuple[str, str]
) -> None:
    (tmp_path / "none").mkdir()
    folders = [tmp_path / "none" if kind == "none" else report_runs[kind] for kind in kinds]
    page = Page(compare_page(members_of(folders, time.time() + 4000)))
    assert page.text.startswith(f"{kinds[0]}/{NAME}") or kinds[1] == "none"
    assert "results" in [section["id"] for section in page.all("section")]


def test_names_in_a_comparison_are_text_too(report_runs: ReportRuns) -> None:
    text = compare_page(members_of([report_runs[WHOLE], report_runs[CONTINUED]]))
    page = Page(text)
    assert len(page.all("script")) == 1 and not page.all("img")
    assert not set(text) & set("\u202e\u2066")
    assert all(name.replace("\u202e", "\\u202e").replace("\u2066", "\\u2066") in page.text for name in HOSTILE)


def test_letters_go_on_after_z() -> None:
    assert [letter_of(place) for place in (0, 25, 26, 52)] == ["A", "Z", "A2", "A3"]


def test_the_command_loads_neither_torch_nor_numpy(report_runs: ReportRuns, tmp_path: Path) -> None:
    folder = report_runs.copied(OLD, tmp_path)
    program = (
        "import sys\nfrom accel_yolo.cli import main\n"
        "status = main(sys.argv[1:])\n"
        "heavy = {'torch', 'numpy', 'cv2', 'matplotlib', 'accelerate'} & set(sys.modules)\n"
        "sys.exit(status or (f'loaded {heavy}' if heavy else 0))"
    )
    words = [
        sys.executable,
        "-c",
        program,
        "report",
        str(folder),
        str(report_runs[WHOLE]),
        "--out",
        str(tmp_path / "x"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
