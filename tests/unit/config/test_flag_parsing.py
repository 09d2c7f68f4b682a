"""Flags: YOLOv5's spellings work, values are checked, and what does not work yet says so."""

from __future__ import annotations

from typing import Any

import pytest

from accel_yolo.config.export_flags import NOT_WRITTEN
from accel_yolo.config.flags import COMMANDS, build_parser, parse
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.config.settings import defaults_of
from accel_yolo.config.tune_flags import OF_ONE_RUN
from accel_yolo.errors import ConfigError


@pytest.mark.parametrize(
    ("command", "line", "values"),
    [
        ("train", "", {}),
        ("train", "--batch 64 --data coco.yaml --weights yolov5s.pt --device 0", {
            "batch": 64, "data": ("coco.yaml",), "weights": "yolov5s.pt", "device": "0"}),
        ("train", "--batch-size 8 --img 320 --hyp x.yaml", {"batch": 8, "imgsz": 320, "hyp_file": "x.yaml"}),
        ("train", "--img-size 320", {"imgsz": 320}),
        ("train", "--imgsz=320", {"imgsz": 320}),
        ("train", "--freeze 10", {"freeze": (10,)}),
        ("train", "--freeze 0 1 2", {"freeze": (0, 1, 2)}),
        ("train", "--freeze 3 head *.bn model.24.m.0", {"freeze": (3, "head", "*.bn", "model.24.m.0")}),
        ("train", "--batch -1", {"batch": -1}),
        ("train", "--batch-size=auto", {"batch": -1}),
        ("train", "--class-balanced", {"class_balanced": 0.01}),
        ("train", "--class-balanced 0.2 --quad", {"class_balanced": 0.2, "quad": True}),
        ("train", "--close-mosaic 15 --image-weights", {"close_mosaic": 15, "image_weights": True}),
        ("train", "--augment-with my.own:stuff.flip", {"augment_with": "my.own:stuff.flip"}),
        ("train", "--resume", {"resume": "auto"}),
        ("train", "--resume runs/train/exp", {"resume": "runs/train/exp"}),
        ("train", "--save-period -1 --label-smoothing 1e-1", {"save_period": -1, "label_smoothing": 0.1}),
        ("train", "--rect --cos-lr --sync-bn --noplots", {
            "rect": True, "cos_lr": True, "sync_bn": True, "noplots": True}),
        ("train", "--local_rank 1", {}),
        ("train", "--local-rank=1 --epochs 3", {"epochs": 3}),
        ("val", "--weights a.pt b.pt --img 640 --conf 0.001 --iou .6", {
            "weights": ("a.pt", "b.pt"), "imgsz": (640,), "conf_thres": 0.001, "iou_thres": 0.6}),
        ("val", "--half", {"precision": "fp16"}),
        ("val", "--task study --imgsz 256 384", {"task": "study", "imgsz": (256, 384)}),
        ("val", "--save-hybrid --save-conf --worst 4 --noplots", {
            "save_hybrid": True, "save_conf": True, "worst": 4, "noplots": True}),
        ("val", "--half --precision fp16", {"precision": "fp16"}),
        ("predict", "--imgsz 640", {"imgsz": (640,)}),
        ("predict", "--imgsz 480 640 --classes 0 dog", {"imgsz": (480, 640), "classes": ("0", "dog")}),
        ("predict", "--save-txt --save-conf --hide-conf", {"save_txt": True, "save_conf": True, "hide_conf": True}),
        ("convert", "x.pt x.safetensors", {"source": "x.pt", "destination": "x.safetensors"}),
        ("convert", "x.pt --to safetensors", {"source": "x.pt", "to": "safetensors"}),
        ("info weights", "x.pt --json", {"file": "x.pt", "json": True}),
    ],
)  # fmt: skip
def test_what_is_typed_is_what_is_kept(command: str, line: str, values: dict[str, Any]) -> None:
    assert parse(command, line.split()).values == values


@pytest.mark.parametrize("name", ["exp", "day/exp", "a..b", "..x", "x..", "été"])
def test_a_run_may_lie_in_folders_of_the_project(name: str) -> None:
    assert parse("train", ["--name", name]).values["name"] == name


@pytest.mark.parametrize("command", ["train", "val"])
@pytest.mark.parametrize("name", ["a\n/../../b", "\n/..", "/elsewhere", "../exp", "a/.."])
def test_no_name_leads_out_of_the_project(command: str, name: str) -> None:
    with pytest.raises(ConfigError, match="wrong value in --name"):
        parse(command, ["--name", name])


def test_an_empty_word_is_a_value() -> None:
    assert parse("train", ["--weights", ""]).values == {"weights": ""}


def test_the_spelling_used_is_remembered() -> None:
    assert parse("train", ["--batch-size", "8"]).spelled == {"batch": "--batch-size"}


@pytest.mark.parametrize(
    ("command", "line", "words"),
    [
        ("train", "--epochs 0", "wrong value in --epochs: 0; give a whole number of at least 1"),
        ("train", "--batch-size x", "wrong value in --batch-size: x"),
        ("train", "--imgsz 10", "wrong value in --imgsz: 10"),
        ("train", "--imgsz 64.0", "wrong value in --imgsz: 64.0"),
        ("train", "--workers -1", "wrong value in --workers: -1"),
        ("train", "--optimizer Adan", "did you mean 'Adam'?"),
        ("train", "--precision int8", "wrong value in --precision: int8"),
        ("train", "--epoch 3", "unknown flag in the command line: --epoch; did you mean '--epochs'?"),
        ("train", "--exist_ok", "did you mean '--exist-ok'?"),
        ("train", "--pat 3", "unknown flag"),
        ("train", "extra", "unexpected word in the command line: extra"),
        ("train", "--epochs", "a value is missing in --epochs; give one after it: see `accel-yolo train --help`"),
        ("train", "--cos-lr=1", "this flag takes no value in --cos-lr: '1'; leave the value out"),
        (
            "train",
            "--name a/../../b",
            "wrong value in --name: a/../../b; give a folder name in UTF-8, in --project and",
        ),
        ("val", "--name ..", "wrong value in --name: ..; give a folder name, in --project and without '..'"),
        ("predict", "--name /elsewhere", "wrong value in --name: /elsewhere; give a folder name, in --project"),
        ("val", "--conf 2", "wrong value in --conf: 2; give a number from 0 to 1"),
        ("val", "--half --precision bf16", "two flags disagree in --half and --precision"),
        ("predict", "--imgsz 64 64 64", "wrong value in --imgsz: 64 64 64"),
        ("convert", "", "something is missing after accel-yolo convert: SOURCE; see"),
        ("convert", "x.pt --to onnx", "wrong value in --to: onnx; give one of auto, safetensors, yolov5-pt"),
        ("convert", "x.pt --to yolov5pt", "did you mean 'yolov5-pt'?"),
        ("info weights", "", "something is missing after accel-yolo info weights: FILE; see"),
        ("info weights", "x.pt y.pt", "unexpected word in the command line: y.pt"),
    ],
)
def test_a_wrong_command_line_is_one_line_with_flag_value_and_remedy(command: str, line: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(command, line.split())
    assert words in str(error.value)
    assert "\n" not in str(error.value)


LATER_FLAGS = [
    (command, flag.name, spelling)
    for command, entry in COMMANDS.items()
    for flag in entry.flags
    if flag.later
    for spelling in flag.spellings
]


@pytest.mark.parametrize(("command", "name", "spelling"), LATER_FLAGS)
def test_a_flag_of_a_later_capability_stops_with_a_reason_and_never_passes(
    command: str, name: str, spelling: str
) -> None:
    flag = next(flag for flag in COMMANDS[command].flags if flag.name == name)
    value = ["1"] if flag.nargs is None else []
    with pytest.raises(ConfigError) as error:
        parse(command, [spelling, *value])
    assert str(error.value) == f"flag {flag.lack} in {spelling}; {flag.later}"


def test_the_flags_of_later_capabilities_are_these() -> None:
    named = {command: {name for c, name, _ in LATER_FLAGS if c == command} for command in ("train", "val", "predict")}
    assert named == {
        "train": {
            "--bucket", "--upload_dataset", "--artifact_alias",
        },
        "val": set(),
        "predict": {"--update"},
    }  # fmt: skip


@pytest.mark.parametrize("form", NOT_WRITTEN)
def test_a_format_that_cannot_be_checked_here_is_refused_with_what_to_do_instead(form: str) -> None:
    with pytest.raises(ConfigError, match=f"value not supported in --include: {form}; .*--include "):
        parse("export", ["--include", "onnx", form])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_fills_a_setting_or_says_why_not_and_every_setting_has_a_flag(command: str) -> None:
    entry = COMMANDS[command]
    left_out = set(OF_ONE_RUN) if command == "tune" else set()
    settings = set(entry.rules) - left_out
    processes = set(defaults_of(LaunchConfig)) - left_out
    for flag in entry.flags:
        assert flag.help
        assert flag.fills in settings | processes or flag.later or flag.name in ("--local_rank", "--inplace")
    filled = {flag.fills for flag in entry.flags if flag.fills}
    assert settings == filled - (processes - settings)
    assert not filled & (processes - settings) or processes <= filled, "all settings of processes or none"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_spelling_but_those_that_only_swap_dashes(command: str) -> None:
    text = build_parser(command).format_help()
    for flag in COMMANDS[command].flags:
        for spelling in flag.spellings:
            shown = spelling.upper() if flag.positional else spelling
            assert shown in text or shown.replace("_", "-") in text


@pytest.mark.parametrize("command", ["train", "profile"])
def test_cache_alone_is_a_file_and_every_kind_has_its_word(command: str) -> None:
    assert parse(command, ["--cache"]).values == {"cache": "disk"}
    assert parse(command, ["--cache", "--imgsz", "64"]).values == {"cache": "disk", "imgsz": 64}
    for kind in ("ram", "disk", "val", "device"):
        assert parse(command, ["--cache", kind, "--cache-dir", "x"]).values == {"cache": kind, "cache_dir": "x"}
    with pytest.raises(ConfigError, match=r"wrong value in --cache: RAM; give ram or disk \(the same\), val or device"):
        parse(command, ["--cache", "RAM"])


@pytest.mark.parametrize("command", ["train", "profile"])
def test_decode_once_alone_means_groups_of_sixteen(command: str) -> None:
    assert parse(command, ["--decode-once"]).values == {"decode_once": 16}
    assert parse(command, ["--decode-once", "40"]).values == {"decode_once": 40}
    with pytest.raises(ConfigError, match="wrong value in --decode-once: few"):
        parse(command, ["--decode-once", "few"])
