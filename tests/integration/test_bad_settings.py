"""Flags and YAML files that cannot be: one line with the place, the value and the remedy, before anything is done."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path

import pytest
from commands import Commands

BILLION_LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD_HYPS = {
    "unknown key": ("lr0: 0.01\nmomentun: 0.9\n", "unknown key in", ":2, key 'momentun'; did you mean 'momentum'?"),
    "unlike any": ("lr0: 0.01\nzzz: 0.9\n", "unknown key in", ":2, key 'zzz'; remove it; known are lr0, lrf"),
    "duplicate key": ("lr0: 0.01\nlr0: 0.02\n", "duplicate key in", ":2: lr0; the first is on line 1"),
    "text": ("lr0: fast\n", "wrong value in", ":1, key 'lr0': fast; give a number above 0"),
    "a list": ("lr0: [1]\n", "wrong value in", ":1, key 'lr0': [1]; give a number above 0"),
    "a truth": ("lr0: true\n", "wrong value in", ":1, key 'lr0': true; give a number above 0"),
    "nothing": ("lr0:\n", "wrong value in", ":1, key 'lr0': nothing; give a number above 0"),
    "NaN": ("lr0: .nan\n", "wrong value in", ":1, key 'lr0': nan; give a number above 0"),
    "out of range": ("mosaic: 2\n", "wrong value in", ":1, key 'mosaic': 2; give a number from 0 to 1"),
    "a tag": ("lr0: !!python/object/apply:os.system ['touch canary']\n", "a tag in", ":1: !!python", "; write plain"),
    "billion laughs": (BILLION_LAUGHS, "too many values in", "; a YAML file holds at most"),
    "deep nesting": ("a: " + "[" * 5000 + "]" * 5000, "nested too deep in", "; use at most"),
    "an alias of itself": ("a: &a [*a]\n", "an alias that contains itself in", ":1; write the values out"),
    "two megabytes": ("# " + "x" * (2 << 20), "file too large in", "; a YAML file has at most"),
    "bad syntax": ("lr0: [1\n", "not valid YAML in", "; correct the line"),
    "a list file": ("- 1\n", "not a hyper-parameter file in", "; it needs lines such as"),
    "empty": ("", "not a hyper-parameter file in", "; it needs lines such as"),
    "bytes": ("\0\x01\x02", "not text in", "; remove it"),
}

BAD_FLAGS = {
    "--epoch 3": "unknown flag in the command line: --epoch; did you mean '--epochs'?",
    "--epochz=3": "unknown flag in the command line: --epochz; did you mean '--epochs'?",
    "--qwxz": "unknown flag in the command line: --qwxz; see --help",
    "--epochs 3 word": "unexpected word in the command line: word; every value belongs to a flag",
    "--epochs 0": "wrong value in --epochs: 0; give a whole number of at least 1",
    "--epochs -1": "wrong value in --epochs: -1; give a whole number of at least 1",
    "--epochs few": "wrong value in --epochs: few; give a whole number of at least 1",
    "--epochs": "a value is missing in --epochs; give one after it: see `train.py --help`",
    "--batch 0": "wrong value in --batch: 0; give a whole number of at least 1",
    "--batch -2": "wrong value in --batch: -2; give a whole number of at least 1, or -1 (auto) to have it chosen",
    "--batch -1 --bit-exact": "what fits into memory depends on the processes in --bit-exact and --batch -1; leave out",
    "--rect --image-weights": "two settings for the order of the images in --rect and --image-weights; leave out one",
    "--image-weights --class-balanced": "two settings for the order of the images in --image-weights and --class-bal",
    "--class-balanced 2": "wrong value in --class-balanced: 2; give a number from 0 to 1",
    "--close-mosaic -1": "wrong value in --close-mosaic: -1; give a whole number of at least 0",
    "--quad --batch 10": "--quad makes one image of 4 samples in --batch: 10; give a multiple of 4, such as 12",
    "--quad --bn-group 2": "--quad makes one image of 4 samples in --bn-group: 2; give a multiple of 4, such as 4",
    "--quad --cache device": "--quad is rendered by the workers in --quad and --cache device; leave out one of them",
    "--augment-with a:b --cache device": "your augmentation runs in the workers, which need the pixels in --augment-w",
    "--augment-with nowhere": "wrong value in --augment-with: nowhere; give a callable by its import path, such as",
    "--augment-with nowhere:f": "cannot import the augmentation in --augment-with: nowhere:f; ModuleNotFoundError: No",
    "--augment-with math:sinn": "no such augmentation in --augment-with: math:sinn; did you mean 'sin",
    "--augment-with math:pi": "the augmentation cannot be called with a sample in --augment-with: math:pi; it is a flo",
    "--augment-with fractions:Fraction": "the augmentation cannot be called with a sample in --augment-with: fraction",
    "--imgsz 31": "wrong value in --imgsz: 31; give a whole number from 32",
    "--imgsz 64.5": "wrong value in --imgsz: 64.5; give a whole number from 32",
    "--batch 3 --bn-group 2": "the batch does not divide into BatchNorm groups in --batch and --bn-group: 3 and 2; ",
    "--sync-bn --bn-group 2": "two kinds of BatchNorm in --sync-bn and --bn-group; leave out one of them",
    "--freeze 999": "no such layer in --freeze: 999; layers are 0 to 24",
    "--freeze 0 99": "no such layer in --freeze: 0 99; layers are 0 to 24",
    "--freeze 25": "nothing left to train in --freeze: 25; freeze fewer layers",
    "--freeze bakbone": "no parameter of that name in --freeze: bakbone; did you mean 'backbone'? give a section",
    "--freeze model.2.cv": "no parameter of that name in --freeze: model.2.cv; did you mean 'model.2.cv",
    "--freeze -1": "wrong value in --freeze: -1; give a whole number from 0",
    "--optimizer adamw": "wrong value in --optimizer: adamw; did you mean 'AdamW'?",
    "--device gpu": "wrong value in --device: gpu; give cpu, mps, or the number of a GPU",
    "--device 0,0": "a GPU is named twice in --device: 0,0; each process needs one of its own",
    "--precision fp16": "fp16 does not work on a CPU in --precision: fp16; use --precision bf16 or fp32",
    "--cfg yolov5q": "no such model file in --cfg: yolov5q; did you mean",
    "--hyp nowhere": "no such hyper-parameter file in --hyp: nowhere; looked for nowhere, nowhere.yaml and the shipped",
    "--cache full": "wrong value in --cache: full; give ram or disk (the same), val or device",
    "--bad-data ignore": "wrong value in --bad-data: ignore; give one of limit, drop, fail",
}

TINY_MODEL = {
    "anchors": [[10, 13, 16, 30], [30, 61, 62, 45]],
    "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 2]]],
    "head": [
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 1], 1, "Concat", [1]],
        [[4, 2], 1, "Detect", ["nc", "anchors"]],
    ],
}
CALL = "__import__('os').system('touch canary')"
BAD_MODELS = {
    "an unknown block": ("backbone", [[-1, 1, "Konv", [8, 3, 2]]], "unknown module in", "layer 0: Konv; did you mean"),
    "a call for a block": ("backbone", [[-1, 1, CALL, [8, 3, 2]]], "unknown module in", "layer 0: ", "; known modules"),
    "a call for a number": ("backbone", [[-1, 1, "Conv", [CALL, 3, 2]]], "cannot build Conv in", "layer 0"),
    "a call for an activation": ("activation", CALL, "unknown activation in"),
    "a stride of 0": ("backbone", [[-1, 1, "Conv", [8, 3, 0]]], "layers do not fit together in", "layer 0"),
    "too many repeats": ("backbone", [[-1, 10**9, "Conv", [8, 3, 2]]], "too many blocks", "layer 0"),
    "a key that is misspelt": ("ancors", 3, "unknown key in", "ancors; did you mean 'anchors'?"),
    "no Detect": ("head", [], "a model has one Detect, as its last layer in"),
}


@pytest.mark.parametrize("case", BAD_HYPS)
def test_a_wrong_hyper_parameter_file_is_named_with_line_key_and_remedy(
    commands: Commands, data: Path, case: str
) -> None:
    text, *parts = BAD_HYPS[case]
    file = data.with_name("hyp.yaml")
    file.write_text(text)
    started, memory_kib = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = commands.train(data, "--hyp", file)
    assert str(file) in outcome.error(2, *parts)
    assert outcome.out == "" and not commands.project.exists() and not Path("canary").exists()
    assert time.monotonic() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kib < 200_000


@pytest.mark.parametrize("words", BAD_FLAGS)
def test_a_wrong_flag_is_named_with_its_value_and_remedy(commands: Commands, data: Path, words: str) -> None:
    commands.train(data, *words.split()).error(2, f"error: {BAD_FLAGS[words]}")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--conf 2", "wrong value in --conf: 2; give a number from 0 to 1"),
        ("--iou nan", "wrong value in --iou: nan; give a number from 0 to 1"),
        ("--task spead", "wrong value in --task: spead; did you mean 'speed'?"),
        ("--imgsz 64 96", "several image sizes in --imgsz: 64 96; --task study compares them"),
        ("--worst -1", "wrong value in --worst: -1; give a whole number of at least 0"),
        ("--task study --save-txt", "a study writes no detections in --task study and --save-txt"),
        ("--fusion wbf", "there is nothing to fuse in --weights"),
        ("--fusion mean", "wrong value in --fusion: mean; give one of nms, wbf"),
    ],
)
def test_a_wrong_flag_of_validation(
    commands: Commands, data: Path, published_weights: Path, words: str, line: str
) -> None:
    commands.val(data, published_weights, *words.split()).error(2, f"error: {line}")


def test_validating_weights_of_other_classes_names_both(
    commands: Commands, data: Path, published_weights: Path
) -> None:
    outcome = commands.val(data, published_weights)
    outcome.error(
        2, "the weights know 80 classes, the data set has 3 in", str(published_weights), str(data), "; use the"
    )
    commands.val(data, published_weights, "--task", "test").error(3, "no test split in", str(data), "; add `test:`")


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ("--source nowhere", 3, "source not found: nowhere; use an image, a video, a folder"),
        ("--source nowhere/*.jpg", 3, "no image or video found: nowhere/*.jpg; "),
        ("--source 77", 7, "no such camera: 77; "),
        ("--source screen", 2, "the screen is not supported as a source: screen; "),
        ("--source https://youtu.be/x", 2, "YouTube is not supported: https://youtu.be/x; save the video with yt-dlp"),
        ("--source {data}", 3, "neither an image nor a video: {data}; known endings are"),
        ("--classes 99", 2, "no such class in --classes: 99; there are 80 classes, 0 to 79"),
        ("--max-det 0", 2, "wrong value in --max-det: 0; give a whole number of at least 1"),
        ("--data {data}", 2, "names do not fit the weights in {data}: 3 names, the weights have 80 classes; "),
    ],
)
def test_a_wrong_flag_of_prediction(
    commands: Commands, data: Path, published_weights: Path, words: str, code: int, line: str
) -> None:
    typed = words.format(data=data).split()
    outcome = commands.detect(data.parent / "images", published_weights, *typed)
    outcome.error(code, f"error: {line.format(data=data)}")
    assert not commands.project.exists()


@pytest.mark.parametrize("case", BAD_MODELS)
def test_a_wrong_model_file_is_named_with_the_layer_and_never_evaluated(
    commands: Commands, data: Path, case: str
) -> None:
    key, value, *parts = BAD_MODELS[case]
    rows = [*value, *TINY_MODEL["backbone"][1:]] if key == "backbone" else value
    file = data.with_name("own.yaml")
    file.write_text(json.dumps({**TINY_MODEL, key: rows}))
    assert str(file) in commands.train(data, "--cfg", file).error(2, *parts)
    assert not Path("canary").exists()


def test_an_image_size_that_does_not_fit_is_rounded_up_with_one_warning(
    commands: Commands, data: Path, published_weights: Path
) -> None:
    (data.parent / "own.yaml").write_text(json.dumps(TINY_MODEL))
    trained = commands.train(data, "--imgsz", "100", "--cfg", data.parent / "own.yaml").succeeded()
    assert trained.starting("warning") == ["warning: --imgsz 100 is no multiple of 32; using 128"]
    assert "at 128 px" in trained.out
    small = commands.train(data, "--imgsz", "32", "--cfg", data.parent / "own.yaml").succeeded()
    assert small.starting("warning") == ["warning: --imgsz 32 is less than 2 x 32; using 64"]
    validated = commands.val(data, published_weights, "--single-cls", "--imgsz", "100").succeeded()
    assert validated.starting("warning") == ["warning: --imgsz 100 is no multiple of 32; using 128"]
    predicted = commands.detect(data.parent / "images", published_weights, "--imgsz", "100").succeeded()
    assert predicted.starting("warning") == ["warning: --imgsz 100 100 is no multiple of 32; using 128 128"]
