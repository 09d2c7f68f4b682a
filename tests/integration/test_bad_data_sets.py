"""A data set that is missing, empty or wrong stops with one line that names the place, and is never changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from commands import Commands, make_data, write_data_yaml

NUMBER = "every column must be a number: "
FINITE = "every column must be a finite number: "
CLASS = "the class must be a whole number from 0: "
COLUMNS = "a line has 5 columns (class cx cy w h), or 7, 9, ... for a polygon"
RANGE = "coordinates must lie between 0 and 1 (fractions of the image side): "

BAD_LINES = {
    "a letter": ("0 .5 x .1 .1", NUMBER + "x"),
    "commas": ("0,.5,.5,.1,.1", NUMBER + "0,.5,.5,.1,.1"),
    "letters that are not UTF-8": (b"caf\xe9 .5 .5 .1 .1", NUMBER + "caf\\xe9"),
    "NaN": ("0 nan .5 .1 .1", FINITE + "nan"),
    "infinity": ("0 .5 -inf .1 .1", FINITE + "-inf"),
    "a class out of range": ("3 .5 .5 .1 .1", "the class must be below the number of classes, 3: 3"),
    "a negative class": ("-1 .5 .5 .1 .1", CLASS + "-1"),
    "a fractional class": ("1.5 .5 .5 .1 .1", CLASS + "1.5"),
    "4 columns": ("0 .5 .5 .1", COLUMNS),
    "6 columns": ("0 .5 .5 .1 .1 .9", COLUMNS),
    "8 columns": ("0 .1 .1 .5 .1 .5 .5 .4", COLUMNS),
    "pixels": ("0 320 .5 .1 .1", RANGE + "320"),
    "a coordinate above 1": ("0 .5 1.001 .1 .1", RANGE + "1.001"),
    "swapped corners": ("0 .5 .5 -.1 .1", RANGE + "-.1"),
}


def as_data_yaml(text: str, data: Path) -> Path:
    path = data.with_name("other.yaml")
    path.write_text(text)
    return path


@pytest.mark.parametrize("command", ["train", "val"])
@pytest.mark.parametrize("name", ["nowhere.yaml", "nowhere"])
def test_a_missing_data_yaml_is_named_with_the_places_searched(commands: Commands, command: str, name: str) -> None:
    outcome = commands(command, "--data", name)
    line = outcome.error(3, f"no such data file in --data: {name}; looked for {name}", "shipped", "coco128")
    assert "yaml.yaml" not in line
    assert outcome.out == ""


def test_a_misspelt_shipped_name_is_recognised(commands: Commands) -> None:
    commands.train("coco182").error(3, "--data: coco182; did you mean 'coco128'?")


def test_an_image_in_place_of_the_data_yaml(commands: Commands, data: Path) -> None:
    image = data.parent / "images" / "0.png"
    commands.train(image).error(3, "not a text file in", str(image), "; give a YAML file")


def test_a_folder_without_a_data_set_tells_what_it_holds_and_what_is_known(commands: Commands, data: Path) -> None:
    data.unlink()
    shutil.rmtree(data.parent / "labels")
    place = data.parent
    commands.train(place).error(
        3, f"no data set is recognised in {place}: it holds images;", "known are a data YAML, COCO"
    )


def test_a_missing_images_folder_names_key_line_and_places(commands: Commands, data: Path) -> None:
    shutil.rmtree(data.parent / "images")
    place = data.parent / "images"
    commands.train(data).error(3, f"missing images in {data}:1, key 'train': images; looked at {place}")


def test_an_empty_images_folder(commands: Commands, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", images=0)
    commands.train(data).error(3, f"no images in {data.parent / 'images'}; check 'train:' of {data}")


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_list_file(commands: Commands, data: Path, content: str) -> None:
    listed = data.with_name("list.txt")
    listed.write_text(content)
    other = as_data_yaml("train: list.txt\nval: list.txt\nnames: [a]\n", data)
    commands.train(other).error(3, f"no images in {listed}; check 'train:' of {other}")


def test_a_list_of_images_that_do_not_exist(commands: Commands, data: Path) -> None:
    data.with_name("list.txt").write_text("images/nowhere.png\n")
    other = as_data_yaml("train: list.txt\nval: list.txt\nnames: [a]\n", data)
    commands.train(other).error(
        3, "1 of 1 (100.0%); the first in", "nowhere.png: no such file", "; correct these files"
    )


@pytest.mark.parametrize("command", ["train", "val"])
@pytest.mark.parametrize("missing", ["files", "folder"])
def test_images_without_any_labels_say_where_labels_were_looked_for(
    commands: Commands, tmp_path: Path, published_weights: Path, command: str, missing: str
) -> None:
    data = make_data(tmp_path / "data", labelled=False)
    labels = data.parent / "labels"
    if missing == "folder":
        labels.rmdir()
    outcome = commands.train(data) if command == "train" else commands.val(data, published_weights, "--single-cls")
    outcome.error(3, f"no labels in {data.parent / 'images'}: 4 images", f"; labels were looked for in {labels}")


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_label_line_is_named_with_file_line_value_and_rule(commands: Commands, data: Path, case: str) -> None:
    bad, finding = BAD_LINES[case]
    label = data.parent / "labels" / "2.txt"
    label.write_bytes(b"0 .5 .5 .2 .2\n" + (bad if isinstance(bad, bytes) else bad.encode()) + b"\n")
    outcome = commands.train(data)
    outcome.error(3, "too many bad images, 1 of 4 (25.0%); the first in", f"{label}:2: {finding}", "--bad-data drop")
    assert outcome.starting("warning") == [f"warning: dropped: {label}:2: {finding}"] or COLUMNS in finding


@pytest.mark.parametrize(
    "line", ["0 .1 .1 .5 .1 .5 .5", "1.0 .5 .5 .1 .1", "\t2  .5\t.5 .1 .1\r", "0 .5 .5 .1 .1 \n\n"]
)
def test_unusual_lines_with_a_meaning_are_taken(commands: Commands, data: Path, line: str) -> None:
    (data.parent / "labels" / "2.txt").write_text(line)
    outcome = commands.train(data, "--noval").succeeded()
    assert "4 images (4 labelled), 4 objects" in outcome.out
    assert not outcome.starting("warning")


def test_up_to_five_percent_are_left_out_with_a_warning_and_more_stop(commands: Commands, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", images=40)
    labels = data.parent / "labels"
    (labels / "3.txt").write_text("x\n")
    (labels / "4.txt").write_text("9 .5 .5 .1 .1\n")
    outcome = commands.train(data).succeeded()
    assert "train: 38 images (38 labelled), 38 objects, 2 images dropped" in outcome.out
    assert f"warning: dropped: {labels / '3.txt'}:1: {NUMBER}x" in outcome.lines
    (labels / "5.txt").write_text("x\n")
    commands.train(data).error(
        3, "too many bad images, 3 of 40 (7.5%); the first in", f"{labels / '3.txt'}:1: {NUMBER}x"
    )
    dropping = commands.train(data, "--bad-data", "drop").succeeded()
    assert "train: 37 images (37 labelled), 37 objects, 3 images dropped" in dropping.out
    failing = commands.train(data, "--bad-data", "fail")
    failing.error(3, "bad data (every column must be a number) in", f"{labels / '3.txt'}:1: x", "; correct it")


def test_only_the_first_twenty_findings_are_listed(commands: Commands, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", images=40)
    for number in range(30):
        (data.parent / "labels" / f"{number}.txt").write_text("x\n")
    outcome = commands.train(data)
    outcome.error(3, "too many bad images, 30 of 40 (75.0%)")
    assert len(outcome.starting("warning")) == 21
    assert "... and 10 more" in outcome.starting("warning")[-1]
    assert commands.train(data, "--quiet").starting("warning") == []


def test_a_label_that_is_a_folder_and_a_pipe_for_an_image_are_named_and_not_opened(
    commands: Commands, data: Path
) -> None:
    label = data.parent / "labels" / "2.txt"
    label.unlink()
    label.mkdir()
    commands.train(data).error(3, str(label), "cannot be read, or is not a regular file")
    label.rmdir()
    os.mkfifo(data.parent / "images" / "pipe.jpg")
    commands.train(data).error(3, "pipe.jpg", "not a regular file")


def test_extra_keys_of_a_data_yaml_are_one_warning(commands: Commands, data: Path) -> None:
    other = as_data_yaml(data.read_text() + "roboflow: {version: 1}\nlicense: MIT\n", data)
    outcome = commands.train(other, "--noval").succeeded()
    assert outcome.starting("warning") == [
        f"warning: keys without a meaning here are ignored in {other}: roboflow, license"
    ]


BASE = "train: images\nval: images\n"
BAD_YAMLS = {
    "misspelt key": (
        "trian: images\nval: images\nnames: [a]\n",
        "misspelt key in",
        ":1, key 'trian'; did you mean 'train'?",
    ),
    "nc contradicts names": (
        BASE + "nc: 3\nnames: [a, b]\n",
        "nc does not match the names in",
        ":3, key 'nc': 3; there are 2",
    ),
    "gap in a map": (
        BASE + "names: {0: a, 2: b}\n",
        "gap in the class numbers in",
        ":3, key 'names.2': 2; ",
        "1 is missing",
    ),
    "words as numbers": (
        BASE + "names: {a: 0}\n",
        "class number is not an integer",
        ":3, key 'names.a'",
        "use 0, 1, 2",
    ),
    "names as text": (BASE + "names: abc\n", "no class names in", ":3, key 'names': 'abc'; give the class names"),
    "no names": (BASE, "no class names in", "key 'names'; give the class names"),
    "no val": ("train: images\nnames: [a]\n", "no val split in", "; add `val:`"),
    "duplicate key": (BASE + "names: [a]\nnames: [b]\n", "duplicate key in", ":4: names; the first is on line 3"),
    "tag": (BASE + "names: !!python/tuple [a]\n", "a tag in", ":3: !!python/tuple; write plain YAML"),
    "number as path": ("train: 3\nval: images\nnames: [a]\n", "not a path in", ":1, key 'train': 3; give a folder"),
    "empty": ("", "empty data YAML in", "; it needs train, val and names"),
}


@pytest.mark.parametrize("case", BAD_YAMLS)
def test_a_wrong_data_yaml_is_named_with_line_key_and_remedy(commands: Commands, data: Path, case: str) -> None:
    text, *parts = BAD_YAMLS[case]
    other = as_data_yaml(text, data)
    outcome = commands.train(other)
    assert str(other) in outcome.error(3, *parts)
    assert outcome.out == ""


def test_names_as_a_list_and_as_a_map_train_alike(commands: Commands, data: Path) -> None:
    for names in ("[a, b]", "{1: b, 0: a}"):
        write_data_yaml(data.parent, f"{BASE}nc: 2\nnames: {names}\n")
        assert "2 classes" in commands.train(data, "--noval").succeeded().out


@pytest.mark.parametrize("script", ["|\n  import os\n  os.system('touch canary')", "bash touch canary", "touch canary"])
def test_a_download_script_is_never_run(commands: Commands, data: Path, script: str) -> None:
    other = as_data_yaml(f"path: nowhere\n{BASE}names: [a]\ndownload: {script}\n", data)
    commands.train(other).error(3, "missing images in", "the script under `download:`", "is never run")
    assert not Path("canary").exists() and not data.with_name("canary").exists()


def test_an_image_that_changes_after_its_verification_is_named(
    commands: Commands, tmp_path: Path, published_weights: Path
) -> None:
    data = make_data(tmp_path / "data")
    commands.val(data, published_weights, "--single-cls").succeeded()
    image = data.parent / "images" / "2.png"
    before, content = image.stat(), image.read_bytes()
    image.write_bytes(content[:100] + bytes(len(content) - 100))
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    outcome = commands.val(data, published_weights, "--single-cls")
    changed = "; replace the file: it is not what it was when the data set was verified"
    outcome.error(3, f"the PNG holds fewer rows than its header says in {image}", changed)
