"""YAML 1.2, strictly: what a word means, what is refused, and that what is written is read back."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from accel_yolo.config.yaml_io import DEEPEST, LARGEST_BYTES, dump_yaml, load_yaml, parse_yaml
from accel_yolo.errors import ConfigError, DataError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(
        ["no", "off", "y", "1e-3", "1_000", "0o17", "0x1F", "1:30", "~", "null", ".5", "+1", "=", "<<", "- a", "a: b"]
    )
)
DOCUMENTS = st.dictionaries(
    st.text(max_size=20), SCALARS | st.lists(SCALARS, max_size=4) | st.dictionaries(st.text(), SCALARS, max_size=3)
)


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        (".5", 0.5),
        ("1.", 1.0),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("-3", -3),
        ("no", "no"),
        ("NO", "NO"),
        ("off", "off"),
        ("yes", "yes"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("-.inf", -math.inf),
    ],
)
def test_a_word_means_what_yaml_1_2_says(word: str, meaning: object) -> None:
    value = parse_yaml(f"key: {word}", "f.yaml").data["key"]
    assert value == meaning
    assert type(value) is type(meaning)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", "duplicate key in f.yaml:3: a; the first is on line 1"),
        ("a:\n  b: [1, 2", "not valid YAML in f.yaml:2"),
        ("a: 1\n\tb: 2", "not valid YAML in f.yaml:2"),
        ("a: &x [*x]", "an alias that contains itself in f.yaml:1"),
        ("a: *nowhere", "undefined alias 'nowhere'"),
        ("a: 1\n---\nb: 1", "another document"),
        ("a: !!int '5'", "a tag in f.yaml:1: !!int"),
        ("a: !own 5", "a tag in f.yaml:1: !own"),
        ("? [1]\n: 2", "a key that is not a word in f.yaml:1"),
        ("a: 1\nb: \x01", "not text in f.yaml:2: character 0x1"),
        ("a: " + "[" * (DEEPEST + 1), "nested too deep in f.yaml:1"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_yaml(text, "f.yaml")
    assert words in str(error.value)


def test_a_tag_never_runs_code(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(os, "system", called.append)
    with pytest.raises(ConfigError, match="tags are never obeyed"):
        parse_yaml("a: !!python/object/apply:os.system ['true']", "f.yaml")
    assert not called


def test_aliases_that_stand_for_billions_of_values_are_refused() -> None:
    lines = ["a0: &a0 [" + ",".join("1" * 10) + "]"]
    lines += [f"a{n}: &a{n} [" + ",".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 10)]
    with pytest.raises(ConfigError, match="too many values"):
        parse_yaml("\n".join(lines), "f.yaml")


def test_every_key_and_element_knows_its_line_and_its_text() -> None:
    located = parse_yaml("# comment\nnames:\n  - no\n  - 007\npath:\n  x: 1e-3\n", "f.yaml")
    assert located.where("names") == "f.yaml:2, key 'names'"
    assert located.where("names", 1) == "f.yaml:4, key 'names.1'"
    assert located.where("path", "x") == "f.yaml:6, key 'path.x'"
    assert located.where("absent") == "f.yaml, key 'absent'"
    assert located.texts["names", 1] == "007"


def test_an_empty_document_is_nothing() -> None:
    assert parse_yaml("# only a comment\n", "f.yaml").data is None


@given(DOCUMENTS)
@settings(max_examples=300)
def test_what_is_written_is_read_back_by_yaml_1_2_and_1_1(document: dict[str, object]) -> None:
    text = dump_yaml(document)
    assert parse_yaml(text, "f.yaml").data == document
    assert yaml.safe_load(text) == document


def test_words_that_a_reader_could_take_for_something_else_are_quoted() -> None:
    written = dump_yaml({"a": "no", "b": "1e-3", "c": 1e-3, "d": 1e-7, "e": (1, 2)})
    assert written == "a: 'no'\nb: '1e-3'\nc: 0.001\nd: 1.0e-07\ne: [1, 2]\n"


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: 1\nb: \xe9\n")
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (LARGEST_BYTES + 1))
    for path, words in (
        (tmp_path / "absent.yaml", "no such file"),
        (tmp_path, "a folder where a YAML file is needed"),
        (latin, "latin.yaml:2; save the file as UTF-8"),
        (large, "file too large"),
    ):
        with pytest.raises(DataError) as error:
            load_yaml(path, DataError)
        assert words in str(error.value)
        assert "\n" not in str(error.value)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert load_yaml(path).data == {"a": 1}
