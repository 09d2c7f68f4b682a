"""The hyper-parameter file: YOLOv5's keys, and the parts of a recipe that belong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.config.settings import rules_of
from accel_yolo.config.shipped import label_of
from accel_yolo.config.yaml_io import load_yaml
from accel_yolo.errors import ConfigError, did_you_mean

# What a hyper-parameter file may settle besides hyper-parameters: a recipe is more than its learning rate.
RECIPE_KEYS = (
    "weights",
    "cfg",
    "imgsz",
    "epochs",
    "batch",
    "optimizer",
    "nominal_batch",
    "ema_decay",
    "ema_tau",
    "max_grad_norm",
    "warmup_min_steps",
    "cos_lr",
    "label_smoothing",
    "multi_scale",
    "close_mosaic",
    "sync_bn",
    "bn_group",
    "patience",
    "noautoanchor",
)


def read_hyp_file(path: Path) -> dict[str, Any]:
    """Return the checked values of a hyper-parameter file: keys of `Hyp` and of `RECIPE_KEYS`.

    Raises:
        ConfigError: unknown key, wrong type or out of range, with the line.
    """
    located = load_yaml(path, ConfigError, label_of(path))
    if not isinstance(located.data, dict):
        raise ConfigError("not a hyper-parameter file", located.file, remedy="it needs lines such as `lr0: 0.01`")
    recipe_rules = rules_of(TrainConfig)
    rules = {**rules_of(Hyp), **{key: recipe_rules[key] for key in RECIPE_KEYS}}
    values = {}
    for key, value in located.data.items():
        if key not in rules:
            remedy = did_you_mean(str(key), rules) or f"remove it; known are {', '.join(rules)}"
            raise ConfigError("unknown key", located.where(key), None, remedy)
        values[key] = rules[key].checked(value, located.where(key))
    return values
