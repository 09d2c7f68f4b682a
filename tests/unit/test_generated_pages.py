"""Pages made from the code are current; every flag is described once, and none of YOLOv5's is forgotten."""

from __future__ import annotations

import re
import sys
from collections import Counter
from types import ModuleType

import pytest
from documentation import ROOT

from accel_yolo.config.exclusions import EXCLUSIONS
from accel_yolo.config.flags import COMMANDS, parse
from accel_yolo.config.settings import flag_of
from accel_yolo.errors import ConfigError

sys.path.insert(0, str(ROOT / "docs"))
import from_yolov5
import generated_pages
import reference_of_flags

FLAGS = [(command, spelling) for command, notes in from_yolov5.YOLOV5.items() for spelling in notes]


@pytest.mark.parametrize("page", generated_pages.PAGES, ids=lambda page: page.PAGE.name)
def test_a_page_is_what_the_code_says(page: ModuleType) -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), "run `make docs`"


def test_the_page_lists_the_flags_of_training() -> None:
    assert len(from_yolov5.YOLOV5["train"]) >= 40


@pytest.mark.parametrize(("command", "spelling"), FLAGS)
def test_a_flag_of_yolov5_works_or_says_in_one_line_why_not(command: str, spelling: str) -> None:
    flag = from_yolov5.flag_of(command, spelling)
    assert flag.help
    if flag.later:
        words = [spelling] if flag.nargs in (0, "?") else [spelling, "1"]
        with pytest.raises(ConfigError, match=flag.lack) as caught:
            parse(command, words)
        assert "\n" not in str(caught.value)


def sections() -> dict[str, str]:
    """Return command -> its section of the page of all flags."""
    parts = re.split(r"^## (.+)\n", reference_of_flags.page(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_flag_of_every_command_has_exactly_one_entry() -> None:
    found = sections()
    assert list(found) == list(COMMANDS)
    for command, entry in COMMANDS.items():
        rows = re.findall(r'^\| <a id="[^"]+"></a>([^|]+) \|', found[command], re.MULTILINE)
        links = re.findall(r"\[`([^`]+)`\]\(#", found[command].partition("\nAs in ")[2])
        named = [row.split(", ")[0].strip("`") for row in rows] + [name for name in links if name not in COMMANDS]
        assert Counter(named) == Counter(flag.name for flag in entry.flags), command


def test_no_two_entries_say_the_same_and_each_has_a_place_of_its_own() -> None:
    text = reference_of_flags.page()
    rows = re.findall(r'^\| <a id="([^"]+)"></a>(.+)$', text, re.MULTILINE)
    assert len({place for place, _ in rows}) == len(rows) and len(rows) > 150
    assert len({said for _, said in rows}) == len(rows)
    links = set(re.findall(r"\]\(#([\w-]+)\)", text))
    headings = {command.replace(" ", "-") for command in COMMANDS}
    assert links <= {place for place, _ in rows} | headings


def test_an_entry_says_spellings_default_values_and_what_it_excludes() -> None:
    train = sections()["train"]
    (batch,) = re.findall(r"^.*`--batch`, `--batch-size`.*$", train, re.MULTILINE)
    assert "| `16` |" in batch and "-1 (auto)" in batch and "`--bit-exact` (when -1)" in batch
    (optimizer,) = re.findall(r'^.*"train-optimizer".*$', train, re.MULTILINE)
    assert "| `SGD` |" in optimizer and "Value: one of SGD, Adam, AdamW |" in optimizer
    for each in EXCLUSIONS:
        (row,) = re.findall(rf"^\| [^|]*`{flag_of(each.first)}`.*$", train, re.MULTILINE)
        assert "Not with" in row and f"`{flag_of(each.second)}" in row
