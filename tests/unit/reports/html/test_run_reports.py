"""The report of a run says what its files say, whatever they hold, and nothing in them becomes markup."""

from __future__ import annotations

import json
import os
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_runs import CONTINUED, HOSTILE, INTERRUPTED, MEASURED, NAME, OLD, WHOLE, ReportRuns

from accel_yolo.reports.html import reading
from accel_yolo.reports.html.report import REPORT, leave_report, write_report
from accel_yolo.reports.html.run import read_run
from accel_yolo.reports.html.run_page import run_page
from accel_yolo.reports.html.status import FINISHED, RUNNING, status_of
from accel_yolo.reports.html.status import INTERRUPTED as INTERRUPTED_STATE
from accel_yolo.reports.html.timing import timing_of

VOID = {"meta", "link", "img", "input", "br"}
SECTIONS = [
    "curves",
    "evaluation",
    "classes",
    "confusion",
    "worst",
    "pictures",
    "settings",
    "machine",
    "weights",
    "next",
]


class Page(HTMLParser):
    """A page taken apart: its elements, its text, and whether they are nested as they should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(folder: Path, now_s: float | None = None) -> Page:
    return Page(run_page(folder, now_s))


@pytest.mark.parametrize("kind", [WHOLE, INTERRUPTED, CONTINUED, OLD])
def test_every_section_is_there_and_every_link_of_the_page_leads_to_one(report_runs: ReportRuns, kind: str) -> None:
    page = page_of(report_runs[kind])
    assert [section["id"] for section in page.all("section")] == SECTIONS
    assert [link["href"] for link in page.all("a")] == [f"#{name}" for name in SECTIONS]
    assert len(page.all("h1")) == 1


def test_a_validation_has_the_sections_that_it_has_something_to_say_in(report_runs: ReportRuns) -> None:
    page = page_of(report_runs[MEASURED])
    assert [section["id"] for section in page.all("section")] == SECTIONS[1:], "there are no epochs"
    metrics = json.loads((report_runs[MEASURED] / "metrics.json").read_text())
    assert f"mAP50 {metrics['map50']:.3f} and mAP50-95 {metrics['map50_95']:.3f}" in page.text
    assert f"on 6 images of data (val) with {metrics['instances']} objects" in page.text
    assert "accel-yolo info weights" in page.text


@pytest.mark.parametrize("kind", [WHOLE, MEASURED, CONTINUED])
def test_trainings_and_validations_leave_their_report(report_runs: ReportRuns, kind: str) -> None:
    page = Page((report_runs[kind] / REPORT).read_text())
    assert "finished" in [attributes.get("class", "") for attributes in page.all("span")][1]  # pyright: ignore
    assert page.text.startswith(f"{kind}/{NAME}")


def test_names_and_paths_are_text_never_markup(report_runs: ReportRuns) -> None:
    text = run_page(report_runs[WHOLE])
    page = Page(text)
    assert len(page.all("script")) == 1, "only our own"
    assert all((image["src"] or "").startswith("data:image/jpeg;base64,") for image in page.all("img"))
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    for name in HOSTILE:
        shown = name.replace("\u202e", "\\u202e").replace("\u2066", "\\u2066")
        assert shown in "".join(page.texts), "as it is, but for what would turn it round"
    assert not set(text) & set("\u202e\u2066"), "no character changes the direction of what follows"
    assert "49" not in {cell.strip() for cell in page.texts}, "no template is evaluated"
    assert page.text.startswith(f"whole/{NAME}")


def test_the_page_asks_for_nothing_and_may_not(report_runs: ReportRuns) -> None:
    text = run_page(report_runs[WHOLE])
    page = Page(text)
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-"
    )
    assert not re.search(r"https?://|url\(|@import|//cdn", text.replace("http://www.w3.org/2000/svg", ""))
    assert {link["href"] for link in page.all("link")} == {"data:,"}


def test_a_page_is_less_than_three_megabytes(report_runs: ReportRuns, tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    folder = report_runs.copied(WHOLE, tmp_path)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (1920, 1920, 3), dtype=np.uint8))
    names = ["worst.jpg", "labels.jpg", "labels_correlogram.jpg"]
    names += [f"train_batch{number}.jpg" for number in range(3)]
    names += [f"val_batch{number}_{kind}.jpg" for number in range(3) for kind in ("labels", "pred")]
    noise.save(folder / names[0], quality=95)
    for name in names[1:]:
        (folder / name).write_bytes((folder / names[0]).read_bytes())
    text = run_page(folder)
    assert len(Page(text).all("img")) == len(names)
    assert len(text) < 3_000_000


def test_the_state_of_a_run_is_told_by_its_files_and_the_time(report_runs: ReportRuns) -> None:
    whole, interrupted = read_run(report_runs[WHOLE]), read_run(report_runs[INTERRUPTED])
    assert (status_of(whole).state, status_of(whole).epochs) == (FINISHED, 2)
    assert status_of(read_run(report_runs[OLD])).state == FINISHED
    assert status_of(read_run(report_runs[CONTINUED])).state == FINISHED
    soon, later = interrupted.newest_s + 20, interrupted.newest_s + 4000
    assert status_of(interrupted, soon).state == RUNNING
    assert status_of(interrupted, soon).detail == "Last sign of life 20 s ago."
    assert status_of(interrupted, later).state == INTERRUPTED_STATE
    assert status_of(interrupted, later).detail == "Nothing was written for 1 h 07 min."


def test_an_interrupted_run_says_how_it_is_continued_and_what_it_reached(report_runs: ReportRuns) -> None:
    page = page_of(report_runs[INTERRUPTED], time.time() + 4000)
    assert "Interrupted: 1 of 3 epochs done" in page.text
    assert "so far reach mAP50" in page.text
    assert "accel-yolo train --resume" in page.text
    assert "metrics.json is not there." in page.text
    assert "accel-yolo train --resume" not in page_of(report_runs[WHOLE]).text


def test_a_failure_that_was_recorded_is_told(report_runs: ReportRuns, tmp_path: Path) -> None:
    folder = report_runs.copied(INTERRUPTED, tmp_path)
    (folder / "failure.json").write_text('{"exit_code": 7, "message": "out of memory in --batch 64", "rank": 1}')
    assert "It ended with: out of memory in --batch 64" in page_of(folder).text


def test_a_continued_run_shows_each_of_its_starts(report_runs: ReportRuns) -> None:
    page = page_of(report_runs[CONTINUED])
    assert re.search(r"Start 1: \d{4}-\d\d-\d\d \d\d:\d\d UTC", page.text)
    assert re.search(r"Start 2: \d{4}-\d\d-\d\d \d\d:\d\d UTC, after step 2", page.text)
    assert "in 2 starts" in page.text
    assert "--resume" in page.text


def test_the_parts_of_the_time_sum_up_to_all_of_it(report_runs: ReportRuns) -> None:
    run = read_run(report_runs[WHOLE])
    timing = timing_of(run)
    assert timing is not None and run.history.content is not None and run.history.content.end is not None
    assert [part.key for part in timing.parts] == ["compute", "wait", "validate", "save", "other"]
    assert all(part.seconds >= 0 for part in timing.parts)
    assert sum(part.seconds for part in timing.parts) == pytest.approx(timing.total_s)
    assert timing.total_s >= run.history.content.end["seconds"]
    trained = sum(event["time/train_s"] for event in run.history.content.epochs)
    assert timing.parts[0].seconds + timing.parts[1].seconds == pytest.approx(trained)


def test_what_was_chosen_comes_before_defaults_and_each_value_has_its_origin(report_runs: ReportRuns) -> None:
    text = run_page(report_runs[WHOLE])
    section = text[text.index('id="settings"') : text.index('id="machine"')]
    chosen, defaults = section.split("<details>")
    assert '<code>--epochs</code></th><td class="wide">2</td><td class="wide soft">command line</td>' in chosen
    assert "<code>--patience</code>" in defaults and "<code>--patience</code>" not in chosen
    assert "<code>lr0</code>" in chosen and "hyps/scratch-low.yaml" in chosen


def test_a_run_of_an_older_version_has_a_report_that_says_what_is_missing(report_runs: ReportRuns) -> None:
    page = page_of(report_runs[OLD])
    assert "metrics.jsonl is not there. Images per second, waiting for data and times are recorded in it." in page.text
    assert "environment.json is not there." in page.text
    assert "Mean average precision" in page.text and "Images per second" not in page.text.replace(
        "Images per second,", ""
    )


@pytest.mark.parametrize(
    "name",
    [
        "config.yaml", "results.csv", "metrics.json", "metrics.jsonl", "environment.json", "worst.csv", "worst.jpg",
        "PR_curve.csv", "confusion_matrix.csv", "weights/best.safetensors", "failure.json",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\xfe" * 100, b"{]", b"[1, 2]", b'{"sessions": 3, "per_class": "x"}', b"a,b\n1\n\n,,,\n"]
)
def test_a_damaged_file_costs_its_part_only(report_runs: ReportRuns, tmp_path: Path, name: str, content: bytes) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    for path in report_runs[WHOLE].iterdir():
        if path.is_file() and path.name != REPORT:
            os.link(path, folder / path.name)
    (folder / "weights").mkdir()
    for path in (report_runs[WHOLE] / "weights").iterdir():
        os.link(path, folder / "weights" / path.name)
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_bytes(content)
    page = page_of(folder)
    assert [section["id"] for section in page.all("section")] == SECTIONS
    assert "Traceback" not in page.text


def test_a_file_that_is_not_json_is_named_in_one_sentence(report_runs: ReportRuns, tmp_path: Path) -> None:
    folder = report_runs.copied(WHOLE, tmp_path)
    (folder / "metrics.json").write_text('{"images": 6,\n"map50": oops}')
    (folder / "environment.json").write_text('{"sessions": [{"topology": {"processes": "two"}}]}')
    page = page_of(folder)
    assert "metrics.json is damaged: it is not JSON from line 2 on." in page.text
    assert (
        "environment.json is damaged: Expected `int`, got `str` - at `$.sessions[0].topology.processes`." in page.text
    )


def test_only_files_that_are_read_as_a_whole_can_be_too_large(
    report_runs: ReportRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LARGEST_BYTES", 100)
    run = read_run(report_runs[WHOLE])
    assert run.metrics.problem == "metrics.json is too large to be a file of a run."
    assert run.history.content is not None and len(run.history.content.epochs) == 2, "the record is read line by line"
    assert all(found.content is not None for found in run.weights.values()), "of weights the header is read"


def test_a_folder_may_be_empty(tmp_path: Path) -> None:
    assert "nothing has been measured yet" in page_of(tmp_path).text


def test_weights_tell_their_licence_and_history(report_runs: ReportRuns) -> None:
    page = page_of(report_runs[WHOLE])
    assert "May I ship this?" in page.text and "trained from scratch" in page.text
    assert "trained on data.yaml for 2 epochs" in page.text


def test_no_report_replaces_a_file_of_the_user(report_runs: ReportRuns, tmp_path: Path) -> None:
    folder = report_runs.copied(WHOLE, tmp_path)
    assert write_report(folder) == folder / REPORT
    (folder / REPORT).write_text("<html>my own notes</html>")
    with pytest.raises(Exception, match="the file is there and is not a report of ours: .*; move it, or"):
        write_report(folder)
    assert "my own notes" in (folder / REPORT).read_text()


def test_a_report_that_cannot_be_written_costs_a_warning_and_not_the_run(
    report_runs: ReportRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = report_runs.copied(WHOLE, tmp_path)
    (folder / REPORT).unlink()
    (folder / REPORT).mkdir()
    (folder / REPORT / REPORT).mkdir()
    leave_report(folder)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: cannot write report.html: ") and "the run is complete, `accel-yolo report " in line
