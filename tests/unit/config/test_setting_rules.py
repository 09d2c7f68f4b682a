"""Settings are typed and checked when made, whoever makes them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from accel_yolo.config.hyp_file import RECIPE_KEYS, read_hyp_file
from accel_yolo.config.predict_schema import PredictConfig
from accel_yolo.config.rules import Number
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.config.settings import defaults_of, rules_of
from accel_yolo.config.shipped import shipped, shipped_names
from accel_yolo.config.val_schema import ValConfig
from accel_yolo.errors import ConfigError


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (TrainConfig, {"epochs": 0}, "wrong value in --epochs: 0; give a whole number of at least 1"),
        (TrainConfig, {"epochs": 3.5}, "--epochs: 3.5"),
        (TrainConfig, {"epochs": "3"}, "--epochs: 3"),
        (TrainConfig, {"epochs": True}, "--epochs: true"),
        (TrainConfig, {"batch": -2}, "--batch: -2"),
        (TrainConfig, {"imgsz": 10}, "--imgsz: 10; give a whole number from 32 to 16384"),
        (TrainConfig, {"workers": -1}, "--workers: -1"),
        (TrainConfig, {"optimizer": "adamw"}, "did you mean 'AdamW'?"),
        (TrainConfig, {"precision": "half"}, "give one of auto, fp32, fp16, bf16"),
        (TrainConfig, {"device": "gpu"}, "--device: gpu; give cpu, mps, or the number"),
        (TrainConfig, {"rect": 1}, "--rect: 1; give true or false"),
        (TrainConfig, {"freeze": (0, -1)}, "--freeze: -1"),
        (TrainConfig, {"label_smoothing": 1.0}, "--label-smoothing: 1.0"),
        (TrainConfig, {"max_grad_norm": float("inf")}, "--max-grad-norm: inf"),
        (TrainConfig, {"ema_decay": float("nan")}, "--ema-decay: nan"),
        (TrainConfig, {"hyp_file": ""}, "--hyp: ''"),
        (TrainConfig, {"weights": "", "cfg": ""}, "nothing to train in --weights and --cfg"),
        (TrainConfig, {"sync_bn": True, "bn_group": 4}, "--sync-bn and --bn-group"),
        (TrainConfig, {"batch": 10, "bn_group": 4}, "10 and 4; give a batch that is a multiple of 4"),
        (ValConfig, {"conf_thres": 2}, "--conf-thres: 2; give a number from 0 to 1"),
        (ValConfig, {"weights": ()}, "--weights"),
        (ValConfig, {"weights": ("",)}, "--weights: ''"),
        (PredictConfig, {"imgsz": (64, 64, 64)}, "--imgsz: 64 64 64"),
        (PredictConfig, {"classes": ("",)}, "--classes: ''"),
        (PredictConfig, {"tile": 16}, "--tile: 16"),
        (PredictConfig, {"tile": 640, "overlap": 0.95}, "--overlap: 0.95"),
        (PredictConfig, {"overlap": 0.3}, "--overlap 0.3; give --tile 640 too"),
        (PredictConfig, {"tiles_only": True}, "--tiles-only; give --tile 640 too"),
        (PredictConfig, {"save_format": 2}, "--save-format: 2"),
        (Hyp, {"lr0": 0}, "hyper-parameter lr0: 0; give a number above 0"),
        (Hyp, {"mosaic": 1.5}, "hyper-parameter mosaic: 1.5"),
        (Hyp, {"scale": 10**400}, "hyper-parameter scale"),
    ],
)
def test_an_impossible_value_names_its_place_itself_and_the_remedy(
    kind: type, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as error:
        kind(**settings)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().epochs = 3  # type: ignore[misc]


def test_settings_hold_their_own_type() -> None:
    config = PredictConfig(imgsz=640, weights=["a.pt"], conf_thres=1)  # type: ignore[arg-type]
    assert config.imgsz == (640,)
    assert config.weights == ("a.pt",)
    assert isinstance(config.conf_thres, float)


def test_defaults_obey_their_own_rules() -> None:
    for kind in (Hyp, TrainConfig, ValConfig, PredictConfig):
        for name, default in defaults_of(kind).items():
            assert rules_of(kind)[name].checked(default, name) == default


def test_no_name_means_two_settings_of_a_training_run() -> None:
    assert not set(rules_of(Hyp)) & set(rules_of(TrainConfig))


def test_the_default_hyper_parameters_are_those_of_scratch_low() -> None:
    path = shipped("hyps", "scratch-low")
    assert path is not None
    assert Hyp(**read_hyp_file(path)) == Hyp()


@pytest.mark.parametrize("name", shipped_names("hyps"))
def test_every_shipped_hyper_parameter_file_is_valid(name: str) -> None:
    path = shipped("hyps", name)
    assert path is not None
    values = read_hyp_file(path)
    hyps = {key: value for key, value in values.items() if key not in RECIPE_KEYS}
    recipe = {key: value for key, value in values.items() if key in RECIPE_KEYS}
    assert set(hyps) >= set(rules_of(Hyp)) - {"anchors"}
    TrainConfig(**recipe, hyp=Hyp(**hyps))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("scratch-med", {"lrf": 0.1, "cls": 0.3, "obj": 0.7, "scale": 0.9, "mixup": 0.1, "copy_paste": 0.0}),
        ("scratch-high", {"lrf": 0.1, "cls": 0.3, "obj": 0.7, "scale": 0.9, "mixup": 0.1, "copy_paste": 0.1}),
        ("no-augmentation", {"mosaic": 0.0, "fliplr": 0.0, "hsv_s": 0.0, "translate": 0.0, "scale": 0.0}),
        ("Objects365", {"lr0": 0.00258, "anchors": 3.2, "anchor_t": 3.44, "cls_pw": 0.825}),
        ("VOC", {"lr0": 0.00334, "anchors": 3.412, "mosaic": 0.85834, "obj_pw": 0.67198}),
    ],
)
def test_shipped_hyper_parameters_are_those_that_yolov5_users_know(name: str, values: dict[str, float]) -> None:
    path = shipped("hyps", name)
    assert path is not None
    read = read_hyp_file(path)
    assert {key: read[key] for key in values} == values


def test_anchors_0_means_as_the_model_says() -> None:
    assert Hyp(anchors=0).anchors is None
    assert Hyp(anchors=3).anchors == 3.0


@pytest.mark.parametrize("text", ["1_000", "١", "nan", "inf", "", "1e", "9" * 400])
def test_only_plain_finite_numbers_are_numbers(text: str) -> None:
    with pytest.raises(ConfigError):
        Number().from_text(text, "--x")
    with pytest.raises(ConfigError):
        Number(whole=True).from_text(text, "--x")


def test_hyper_parameter_file_faults_name_file_line_and_nearest_key(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    for content, words in (
        ("lr0: 0.01\nmomentun: 0.9\n", "unknown key in {}:2, key 'momentun'; did you mean 'momentum'?"),
        ("lr0: '0.01'\n", "wrong value in {}:1, key 'lr0': 0.01; give a number above 0"),
        ("mosaic: no\n", "wrong value in {}:1, key 'mosaic': no; give a number from 0 to 1"),
        ("batch: 1.5\n", "wrong value in {}:1, key 'batch': 1.5"),
        ("device: cpu\n", "unknown key in {}:1, key 'device'"),
        ("- 1\n", "not a hyper-parameter file in {}"),
        ("", "not a hyper-parameter file in {}"),
    ):
        path.write_text(content)
        with pytest.raises(ConfigError) as error:
            read_hyp_file(path)
        assert str(error.value).startswith(words.format(path))
