"""Precedence: command line over hyper-parameter file over defaults; every value knows where it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accel_yolo.config.resolve import (
    AUTOBATCH,
    COMMAND_LINE,
    DEFAULT,
    load_config,
    resolve_convert,
    resolve_predict,
    resolve_train,
    resolve_val,
    resume_train,
    save_config,
)
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.config.settings import rules_of
from accel_yolo.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOCAL_RANK", raising=False)


def written(name: str, content: str) -> str:
    Path(name).write_text(content)
    return name


DATA = "train: images\nval: images\nnames: [thing]\n"


def test_without_flags_everything_is_default() -> None:
    config, origins = resolve_train({})
    assert config == TrainConfig()
    assert {origin for name, origin in origins.items() if name in rules_of(TrainConfig)} == {"default"}
    assert origins["lr0"] == "hyps/scratch-low.yaml"
    assert origins["anchors"] == "default"


def test_command_line_wins_over_file_wins_over_default() -> None:
    hyp = written("mine.yaml", "lr0: 0.5\nepochs: 7\nbatch: 4\n")
    config, origins = resolve_train({"hyp_file": hyp, "epochs": 2})
    assert (config.epochs, config.batch, config.imgsz, config.hyp.lr0) == (2, 4, 640, 0.5)
    assert config.hyp.momentum == Hyp().momentum
    assert {name: origins[name] for name in ("epochs", "batch", "imgsz", "lr0", "momentum", "hyp_file")} == {
        "epochs": "command line",
        "batch": "mine.yaml",
        "imgsz": "default",
        "lr0": "mine.yaml",
        "momentum": "default",
        "hyp_file": "command line",
    }


def test_a_typed_value_wins_even_when_it_equals_the_default() -> None:
    hyp = written("mine.yaml", "epochs: 7\n")
    assert resolve_train({"hyp_file": hyp, "epochs": 100})[0].epochs == 100


def test_a_data_set_suggests_its_hyper_parameters_unless_some_are_named() -> None:
    written("mine.yaml", "lr0: 0.5\n")
    data = written("data.yaml", DATA + "hyp: mine.yaml\n")
    config, origins = resolve_train({"data": data})
    assert config.hyp.lr0 == 0.5
    assert origins["hyp_file"] == "data.yaml"
    assert resolve_train({"data": data, "hyp_file": "VOC"})[0].hyp.lr0 == 0.00334


def test_the_demo_data_set_brings_its_recipe() -> None:
    config, origins = resolve_train({"data": "demo"})
    assert config.hyp_file == "demo"
    assert config.cfg == "yolov5n"
    assert config.weights == ""
    assert origins["cfg"] == "hyps/demo.yaml"


def test_typed_weights_are_not_forced_into_the_files_architecture() -> None:
    config, origins = resolve_train({"data": "demo", "weights": "yolov5s.pt"})
    assert (config.weights, config.cfg) == ("yolov5s.pt", "")
    assert origins["cfg"] == "default"


def test_typed_batchnorm_kind_displaces_the_files() -> None:
    hyp = written("mine.yaml", "bn_group: 4\n")
    config, _ = resolve_train({"hyp_file": hyp, "sync_bn": True})
    assert (config.sync_bn, config.bn_group) == (True, 0)


def test_a_batch_that_a_files_groups_do_not_divide_is_an_error() -> None:
    hyp = written("mine.yaml", "bn_group: 4\n")
    with pytest.raises(ConfigError, match="multiple of 4"):
        resolve_train({"hyp_file": hyp, "batch": 6})


def test_the_name_cfg_means_the_stem_of_the_model_file() -> None:
    assert resolve_train({"cfg": "models/yolov5n.yaml", "name": "cfg"})[0].name == "yolov5n"
    assert resolve_train({"cfg": written("my-model.yaml", "nc: 1\n"), "name": "cfg"})[0].name == "my-model"
    with pytest.raises(ConfigError, match="no model to name the run after"):
        resolve_train({"name": "cfg"})


@pytest.mark.parametrize(
    ("typed", "error", "words"),
    [
        ({"data": "coco12"}, DataError, "no such data file in --data: coco12; did you mean 'coco128'?"),
        ({"cfg": "yolov5q"}, ConfigError, "no such model file in --cfg: yolov5q"),
        ({"hyp_file": "scratch"}, ConfigError, "no such hyper-parameter file in --hyp: scratch"),
        ({"sync_bn": True, "bn_group": 4}, ConfigError, "two kinds of BatchNorm"),
        ({"weights": ""}, ConfigError, "nothing to train"),
    ],
)
def test_what_cannot_be_resolved_is_said_at_once(typed: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as raised:
        resolve_train(typed)
    assert words in str(raised.value)


def test_a_suggested_file_that_is_missing_blames_the_data_yaml() -> None:
    data = written("data.yaml", DATA + "hyp: gone.yaml\n")
    with pytest.raises(ConfigError, match=r"in data\.yaml, key 'hyp_file': gone\.yaml"):
        resolve_train({"data": data})


def test_several_devices_are_for_several_processes() -> None:
    assert resolve_train({"device": "0,1"})[0].device == "0,1"
    assert resolve_val({"device": "0,1"})[0].device == "0,1"
    with pytest.raises(ConfigError, match="prediction runs on one"):
        resolve_predict({"device": "0,1"})


def test_coco_is_measured_by_its_own_tool_unless_told_otherwise() -> None:
    assert resolve_val({"data": "data/coco.yaml"})[0].save_json
    assert not resolve_val({"data": "coco128.yaml"})[0].save_json


def test_a_task_of_validation_has_defaults_that_the_user_overrules() -> None:
    speed, origins = resolve_val({"task": "speed"})
    assert (speed.conf_thres, speed.iou_thres, speed.split) == (0.25, 0.45, "val")
    assert origins["conf_thres"] == "--task speed"
    assert resolve_val({"task": "speed", "conf_thres": 0.1})[0].conf_thres == 0.1
    assert resolve_val({"task": "study"})[0].imgsz == (256, 384, 512, 640, 768, 896, 1024, 1152, 1280, 1408, 1536)
    assert resolve_val({"task": "study", "imgsz": (320,)})[0].imgsz == (320,)
    assert not resolve_val({"task": "study", "data": "coco.yaml"})[0].save_json
    assert resolve_val({"task": "test"})[0].split == "test"


def test_save_conf_without_save_txt_is_remarked(capsys: pytest.CaptureFixture[str]) -> None:
    for resolve in (resolve_predict, resolve_val):
        resolve({"save_conf": True})
        assert capsys.readouterr().err.startswith("warning: --save-conf")
    resolve_val({"save_conf": True, "save_hybrid": True})
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    "typed",
    [
        {},
        {"data": "demo", "epochs": 3, "freeze": (1, 2), "name": "no", "project": "1e-3"},
        {"weights": "höhe\udcff.pt", "name": "a: b # c", "seed": 2**63 - 1},
        {"hyp_file": "Objects365", "cfg": "yolov5n", "resume": ""},
        {"batch": -1, "freeze": (3, "head", "*.bn"), "class_balanced": 0.01, "augment_with": "a.b:c.d", "quad": True},
    ],
)
def test_a_saved_run_is_restored_exactly_with_all_origins(typed: dict[str, Any], tmp_path: Path) -> None:
    config, origins = resolve_train(typed)
    path = tmp_path / "config.yaml"
    save_config(path, config, origins)
    assert load_config(path) == (config, origins)


def test_other_commands_are_saved_and_restored_too(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for config, origins in (
        resolve_val({"weights": ("a.pt", "b.pt")}),
        resolve_predict({"classes": ("1", "dog"), "imgsz": (64, 96)}),
        resolve_convert({"source": "a.pt", "destination": "b.safetensors"}),
    ):
        save_config(path, config, origins)
        assert load_config(path) == (config, origins)


def test_a_saved_run_without_a_newer_setting_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    save_config(path, *resolve_train({"epochs": 3}))
    path.write_text(path.read_text().replace("  patience: 100\n", ""))
    assert load_config(path)[0].patience == 100  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not a saved configuration"),
        ("command: dance\n", "not a saved configuration"),
        ("command: train\nsettings:\n  epoch: 3\n", "config.yaml:3, key 'settings.epoch'; did you mean 'epochs'?"),
        ("command: train\nsettings:\n  epochs: none\n", "config.yaml:3, key 'settings.epochs': none"),
        ("command: train\nsettings: [1]\n", "config.yaml:2, key 'settings'"),
        ("command: train\norigins: [1]\n", "config.yaml:2, key 'origins'"),
        ("command: train\norigins: {me: 1}\n", "config.yaml:2, key 'origins.me'"),
    ],
)
def test_a_damaged_saved_run_names_the_line(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert words in str(error.value)


def test_a_resumed_run_keeps_its_own_settings_and_takes_what_may_change() -> None:
    saved = resolve_train({"epochs": 3, "cfg": "yolov5n", "seed": 1})
    config, origins = resume_train(saved, resolve_train({"resume": "auto", "epochs": 5, "workers": 0, "seed": 1}))
    assert (config.resume, config.epochs, config.workers, config.seed, config.cfg) == ("auto", 5, 0, 1, "yolov5n")
    assert (origins["epochs"], origins["workers"], origins["imgsz"]) == ("command line", "command line", "default")


@pytest.mark.parametrize(
    ("typed", "flag"), [({"imgsz": 64}, "--imgsz"), ({"seed": 2}, "--seed"), ({"hyp_file": "VOC"}, "--hyp")]
)
def test_a_resumed_run_refuses_another_recipe(typed: dict[str, Any], flag: str) -> None:
    saved = resolve_train({"epochs": 3})
    with pytest.raises(ConfigError, match=f"cannot change while resuming in {flag}"):
        resume_train(saved, resolve_train({"resume": "auto", **typed}))


def test_only_a_training_run_is_resumed() -> None:
    with pytest.raises(ConfigError, match="not the folder of a training run in --resume: runs/val/exp"):
        resume_train(resolve_val({}), resolve_train({"resume": "runs/val/exp"}))


def test_a_resumed_run_is_recognised_by_any_spelling_of_its_data() -> None:
    saved = resolve_train({"data": "coco128"})
    config, _ = resume_train(saved, resolve_train({"resume": "auto", "data": "data/coco128.yaml"}))
    assert config.data == ("coco128",)


@pytest.mark.parametrize(
    ("typed", "micro_batch"),
    [({"batch": 24}, 8), ({"batch": 22}, 2), ({"batch": 24, "micro_batch": 2}, 2), ({"batch": 24, "bn_group": 3}, 3)],
)
def test_a_bit_exact_run_has_one_batchnorm_group_per_micro_batch(typed: dict[str, int], micro_batch: int) -> None:
    config, origins = resolve_train({"data": "demo", "weights": "", "cfg": "yolov5n", "bit_exact": True, **typed})
    assert (config.micro_batch, config.bn_group) == (micro_batch, micro_batch)
    chosen = {"micro_batch", "bn_group"} - typed.keys()
    assert {name for name, origin in origins.items() if origin == "--bit-exact"} == chosen


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"sync_bn": True}, "order depends on the processes in --bit-exact and --sync-bn"),
        ({"gradient_compression": "bf16"}, "order depends on the processes in --bit-exact and --gradient-compression"),
        ({"precision": "bf16"}, "--bit-exact works in fp32 only in --bit-exact and --precision fp16 or bf16"),
        ({"batch": 16, "micro_batch": 3}, "does not divide into micro-batches in --batch and --micro-batch: 16 and 3"),
        ({"batch": 16, "micro_batch": 4, "bn_group": 2}, "needs one BatchNorm group per micro-batch"),
    ],
)
def test_what_contradicts_bit_exactness_is_refused(typed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_train({"data": "demo", "weights": "", "cfg": "yolov5n", "bit_exact": True, **typed})


def resumed_with(saved: dict[str, Any], origin: str, typed: dict[str, Any]) -> TrainConfig:
    """Return the settings under which a run goes on whose `batch` has an origin, when something is typed."""
    config, origins = resolve_train(saved)
    asked = resolve_train({**typed, "resume": "runs/exp"})
    return resume_train((config, {**origins, "batch": origin}), asked)[0]


def test_a_resumed_run_keeps_the_batch_that_was_chosen_for_it() -> None:
    assert resumed_with({"batch": 24}, AUTOBATCH, {"batch": -1}).batch == 24
    assert resumed_with({"batch": 24}, AUTOBATCH, {}).batch == 24


def test_a_resumed_run_takes_another_batch_that_is_typed() -> None:
    assert resumed_with({"batch": 24}, AUTOBATCH, {"batch": 16}).batch == 16
    assert resumed_with({"batch": 24}, COMMAND_LINE, {"batch": -1}).batch == -1


def test_code_that_a_run_folder_names_is_not_run_unless_it_is_typed_again() -> None:
    saved = {"augment_with": "my:own"}
    assert resumed_with(saved, DEFAULT, saved).augment_with == "my:own"
    for typed in ({}, {"augment_with": "my:other"}):
        with pytest.raises(ConfigError, match="type it again: --augment-with my:own"):
            resumed_with(saved, DEFAULT, typed)
    with pytest.raises(ConfigError, match="cannot change while resuming in --augment-with"):
        resumed_with({}, DEFAULT, saved)


def test_no_code_is_named_in_a_hyper_parameter_file(tmp_path: Path) -> None:
    file = tmp_path / "hyp.yaml"
    file.write_text("lr0: 0.01\naugment_with: my:own\n")
    with pytest.raises(ConfigError, match="unknown key in .*augment_with"):
        resolve_train({"hyp_file": str(file)})
    file.write_text("lr0: 0.01\nclose_mosaic: 15\n")
    assert resolve_train({"hyp_file": str(file)})[0].close_mosaic == 15
