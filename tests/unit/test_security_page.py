"""SECURITY.md says what the code does: its limits are the constants, and each promise names tests that there are."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from hostile.archives import ARCHIVES
from hostile.images import IMAGES
from hostile.labels import LABELS
from hostile.safetensors_files import SAFETENSORS_FILES
from hostile.torch_files import TORCH_FILES
from hostile.yamls import DATA, MODELS, RECIPES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
LIMITS = re.findall(r"^\| [^|]+ \| (\d+) \| `([\w.]+)\.(\w+)` \|$", PAGE, re.MULTILINE)
PROMISES = PAGE.partition("## Promises")[2].partition("## Limits")[0]


@pytest.mark.parametrize(("value", "module", "name"), LIMITS, ids=[name for *_, name in LIMITS])
def test_a_limit_is_the_constant_of_the_code(value: str, module: str, name: str) -> None:
    assert int(value) == getattr(importlib.import_module(module), name)


def test_every_row_of_the_limits_names_a_constant() -> None:
    rows = [line for line in PAGE.partition("## Limits")[2].partition("##")[0].splitlines() if line.startswith("|")]
    assert len(LIMITS) == len(rows) - 2 >= 15


def test_every_promise_names_test_functions_that_there_are() -> None:
    rows = [line for line in PROMISES.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 13
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row.rpartition(" | ")[2])
        assert named, row
        for path, function in named:
            assert f"\ndef {function}(" in (ROOT / path).read_text(), f"{path}::{function}"
    for path in re.findall(r"`((?:tests|benchmarks)/[\w/-]+\.(?:py|md))`", PAGE):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/reliability.md", "CHANGELOG.md"])
def test_the_number_of_hostile_files_is_right_and_the_same_everywhere(page: str) -> None:
    (said,) = re.findall(r"ore than (\d+) (?:hostile files|of them)", (ROOT / page).read_text())
    tables = (ARCHIVES, IMAGES, LABELS, SAFETENSORS_FILES, TORCH_FILES, RECIPES, DATA, MODELS)
    assert int(said) == 240 < sum(map(len, tables)) < 300
