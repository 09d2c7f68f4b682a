"""The page for those who come from YOLOv5 is what the table of flags says, and no flag of theirs is forgotten."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from accel_yolo.config.flags import parse
from accel_yolo.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("from_yolov5", ROOT / "docs" / "from_yolov5.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["from_yolov5"] = module
    spec.loader.exec_module(module)
    return module


GENERATOR = _generator()
FLAGS = [(command, spelling) for command, notes in GENERATOR.YOLOV5.items() for spelling in notes]


def test_the_page_is_what_the_table_says() -> None:
    assert GENERATOR.PAGE.read_text(encoding="utf-8") == GENERATOR.page(), "run `make docs`"


def test_the_page_lists_the_flags_of_training() -> None:
    assert len(GENERATOR.YOLOV5["train"]) >= 40


@pytest.mark.parametrize(("command", "spelling"), FLAGS)
def test_a_flag_of_yolov5_works_or_says_in_one_line_why_not(command: str, spelling: str) -> None:
    flag = GENERATOR.flag_of(command, spelling)
    assert flag.help
    if flag.later:
        words = [spelling] if flag.nargs in (0, "?") else [spelling, "1"]
        with pytest.raises(ConfigError, match=flag.lack) as caught:
            parse(command, words)
        assert "\n" not in str(caught.value)


def test_the_links_of_the_page_lead_somewhere() -> None:
    import re

    for target in re.findall(r"\]\(([^)]+)\)", GENERATOR.page()):
        assert (ROOT / "docs" / target).is_file(), target
