"""From what the user typed to a checked configuration: command line over files over defaults, each origin recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from accel_yolo import console
from accel_yolo.config.consistency import QUAD, bit_exact_micro_batch
from accel_yolo.config.hyp_file import read_hyp_file
from accel_yolo.config.predict_schema import PredictConfig
from accel_yolo.config.rules import AUTO_BATCH
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.config.settings import defaults_of, flag_of, rules_of
from accel_yolo.config.shipped import find_config, label_of
from accel_yolo.config.val_schema import STUDY, TASK_DEFAULTS, ValConfig
from accel_yolo.config.weights_schema import ConvertConfig
from accel_yolo.config.yaml_io import Located, dump_yaml, load_yaml
from accel_yolo.errors import ConfigError, did_you_mean
from accel_yolo.files import write_text_atomic
from accel_yolo.version import __version__

COMMAND_LINE, DEFAULT, AUTOBATCH = "command line", "default", "autobatch"
Origins = dict[str, str]
Config = TrainConfig | ValConfig | PredictConfig | ConvertConfig
Plain = TypeVar("Plain", PredictConfig, ConvertConfig)
_COMMANDS: dict[str, type] = {
    "train": TrainConfig,
    "val": ValConfig,
    "predict": PredictConfig,
    "convert": ConvertConfig,
}

SHAPING = (
    "epochs", "batch", "data", "device", "workers", "patience", "save_period", "save_every", "nosave", "noval",
    "compile", "cuda_graphs", "bad_data", "cache",
)  # fmt: skip
"""What may differ when a run is resumed and is worth a word."""

RESUMABLE_KEYS = (
    *SHAPING,
    "resume",
    "noplots",
    "bbox_interval",
    "exist_ok",
    "report_to",
    "report_timeout",
    "entity",
    "cache_dir",
    "verbose",
    "quiet",
    "debug",
    "debug_nan",
)
"""What may differ when a run is resumed: the length of the run, where it runs, and what it leaves."""


def resolve_train(typed: Mapping[str, Any]) -> tuple[TrainConfig, Origins]:
    """Return the configuration of a training run and where each value came from.

    The command line wins over the hyper-parameter file, which wins over the defaults. Without `--hyp`, the data
    YAML's `hyp:` names the file. For `--resume` the values of the run are still to be read: see `resume_train`.

    Args:
        typed: the values the user typed, by setting name.

    Raises:
        ConfigError: a value, a combination or a file that cannot be.
        DataError: there is no such data YAML.
    """
    typed = dict(typed)
    values, origins = _defaults(TrainConfig)
    _take(values, origins, typed, COMMAND_LINE)
    hyps, hyp_origins = _defaults(Hyp)
    resuming = bool(values["resume"])
    if not resuming or "data" in typed:
        _find_data(values, origins)
    if not resuming or "hyp_file" in typed:
        values["hyp_file"], path = find_config("hyps", values["hyp_file"], _place("hyp_file", origins))
        read = read_hyp_file(path)
        _take(hyps, hyp_origins, {key: read[key] for key in read if key in hyps}, label_of(path))
        recipe = {key: read[key] for key in read if key in values and key not in typed}
        _yield_to_typed(recipe, typed)
        _take(values, origins, recipe, label_of(path))
    if values["cfg"]:
        values["cfg"], _ = find_config("models", values["cfg"], _place("cfg", origins))
    if values["name"] == "cfg":  # YOLOv5: the run folder is named after the model
        if not values["cfg"]:
            raise ConfigError("no model to name the run after", "--name", "cfg", "give --cfg, or another name")
        values["name"] = Path(values["cfg"]).stem
    if values["bit_exact"]:
        _choose_micro_batch(values, origins)
    return TrainConfig(**values, hyp=Hyp(**hyps)), {**origins, **hyp_origins}


def resume_train(saved: tuple[Config, Origins], asked: tuple[TrainConfig, Origins]) -> tuple[TrainConfig, Origins]:
    """Return the configuration under which a run continues: its own, with what may change taken from the user.

    Args:
        saved: what `load_config` read from the run folder.
        asked: what `resolve_train` made of the command line of the resumption.

    Raises:
        ConfigError: the user typed values that differ from the run's and are part of its recipe; all are named.
    """
    config, origins = saved
    asked_config, asked_origins = asked
    if not isinstance(config, TrainConfig):
        raise ConfigError("not the folder of a training run", "--resume", asked_config.resume, "name a training run")
    if config.augment_with and asked_config.augment_with != config.augment_with:
        # The file of a run may come from anywhere: nothing that is named in one is executed.
        what, remedy = "the run has an augmentation of its own", f"type it again: --augment-with {config.augment_with}"
        raise ConfigError(what, "--augment-with", asked_config.augment_with or "not given", remedy)
    values = {name: getattr(config, name) for name in rules_of(TrainConfig)}
    origins, refused = dict(origins), []
    for name, origin in asked_origins.items():
        if origin != COMMAND_LINE or name in ("project", "name"):  # those say which run, not what it is
            continue
        wanted, had = getattr(asked_config, name), values[name]
        if name == "batch" and wanted == AUTO_BATCH and origins[name] == AUTOBATCH:
            continue  # the run keeps what was chosen for it
        if name in RESUMABLE_KEYS:
            values[name], origins[name] = wanted, origin
        elif wanted != had:
            refused.append(name)
    if refused:
        flags, wishes = map(flag_of, refused), (str(getattr(asked_config, name)) for name in refused)
        has, leave = ", ".join(repr(values[name]) for name in refused), "flags" if len(refused) > 1 else "flag"
        remedy = f"the run has {has}: leave the {leave} out, or start a new run"
        raise ConfigError("cannot change while resuming", ", ".join(flags), ", ".join(wishes), remedy)
    return TrainConfig(**values, hyp=config.hyp), origins


def resolve_val(typed: Mapping[str, Any]) -> tuple[ValConfig, Origins]:
    """Return the configuration of a validation and where each value came from. Raises ConfigError."""
    task = str(typed.get("task", ""))
    values, origins = _defaults(ValConfig)
    _take(values, origins, TASK_DEFAULTS.get(task, {}), f"--task {task}")
    _take(values, origins, typed, COMMAND_LINE)
    config = ValConfig(**values)
    if config.save_conf and not (config.save_txt or config.save_hybrid):
        console.warn("--save-conf adds the confidence to the files of --save-txt, which was not given")
    data = config.data[0]
    if "save_json" not in typed and task != STUDY and Path(data).name.removesuffix(".yaml").endswith("coco"):
        # As in YOLOv5: on COCO, the number to report is that of COCO's own tool.
        return replace(config, save_json=True), {**origins, "save_json": data}
    return config, origins


def resolve_predict(typed: Mapping[str, Any]) -> tuple[PredictConfig, Origins]:
    """Return the configuration of a prediction and where each value came from. Raises ConfigError."""
    if "," in typed.get("device", ""):
        raise ConfigError("several devices", "--device", typed["device"], "prediction runs on one: give its number")
    if typed.get("save_conf") and not typed.get("save_txt"):
        console.warn("--save-conf adds the confidence to the files of --save-txt, which was not given")
    return _plain(PredictConfig, typed)


def resolve_convert(typed: Mapping[str, Any]) -> tuple[ConvertConfig, Origins]:
    """Return the configuration of a conversion and where each value came from. Raises ConfigError."""
    return _plain(ConvertConfig, typed)


def save_config(path: Path, config: Config, origins: Origins) -> None:
    """Write a configuration and the origin of each value to a YAML file that `load_config` restores exactly.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    command = next(name for name, kind in _COMMANDS.items() if isinstance(config, kind))
    content: dict[str, Any] = {"version": __version__, "command": command, "settings": _settings(config)}
    if isinstance(config, TrainConfig):
        content["hyp"] = _settings(config.hyp)
    grouped: dict[str, list[str]] = {}
    for name, origin in origins.items():
        grouped.setdefault(origin, []).append(name)
    content["origins"] = grouped
    heading = "# The settings of this run as they were resolved, and below them where each came from.\n"
    write_text_atomic(path, heading + dump_yaml(content))


def load_config(path: Path) -> tuple[Config, Origins]:
    """Return the configuration and the origins that `save_config` wrote; settings it does not know are defaults.

    Raises:
        ConfigError: no such file, not a saved configuration, an unknown key or a wrong value, with the line.
    """
    located = load_yaml(path)
    content = located.data
    if not isinstance(content, dict) or content.get("command") not in _COMMANDS:
        raise ConfigError("not a saved configuration", located.file, remedy="give the config.yaml of a run folder")
    kind = _COMMANDS[content["command"]]
    settings, origins = _read_settings(located, "settings", kind)
    if kind is TrainConfig:
        hyps, hyp_origins = _read_settings(located, "hyp", Hyp)
        settings["hyp"] = Hyp(**hyps)
        origins.update(hyp_origins)
    for origin, names in _section(located, "origins").items():
        if not isinstance(names, list):
            raise ConfigError("not a list of settings", located.where("origins", origin), names, "restore the file")
        origins.update((name, str(origin)) for name in names if name in origins)
    return kind(**settings), origins


def _settings(config: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in rules_of(type(config))}


def _read_settings(located: Located, section: str, kind: type) -> tuple[dict[str, Any], Origins]:
    """Return the checked values of a section of a saved configuration, defaults where it is silent."""
    values, origins = _defaults(kind)
    rules = rules_of(kind)
    for key, value in _section(located, section).items():
        where = located.where(section, key)
        if key not in rules:
            raise ConfigError("unknown key", where, None, did_you_mean(str(key), rules) or "remove it")
        values[key] = rules[key].checked(value, where)
    return values, origins


def _section(located: Located, name: str) -> dict[Any, Any]:
    content = located.data.get(name, {})
    if not isinstance(content, dict):
        raise ConfigError("not a list of `key: value` lines", located.where(name), None, "restore the file")
    return content


def _find_data(values: dict[str, Any], origins: Origins) -> None:
    """Replace the names of data YAMLs by those found, and take the first one's suggestion of a hyper-parameter file."""
    from accel_yolo.config.data_folder import find_data
    from accel_yolo.config.dataset import suggested_hyp

    written = values["data"] if isinstance(values["data"], (tuple, list)) else (values["data"],)
    found = [find_data(each, _place("data", origins)) for each in written]
    values["data"] = tuple(name for name, _ in found)
    path = found[0][1]
    if origins["hyp_file"] == DEFAULT and (hyp := suggested_hyp(path)):
        values["hyp_file"], origins["hyp_file"] = hyp, label_of(path)


def _choose_micro_batch(values: dict[str, Any], origins: Origins) -> None:
    """Fill in the micro-batch and the BatchNorm group of a bit-exact run where the user left them open."""
    given = (
        values["micro_batch"]
        or values["bn_group"]
        or bit_exact_micro_batch(values["batch"], QUAD if values["quad"] else 1)
    )
    for name in ("micro_batch", "bn_group"):
        if not values[name]:
            values[name], origins[name] = given, "--bit-exact"


def _yield_to_typed(recipe: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Drop from a file's recipe what contradicts the command line: the user's word wins, whole.

    A file that trains its own architecture from scratch must not impose it on the weights that the user named,
    and one kind of BatchNorm excludes the other.
    """
    if typed.get("weights"):
        recipe.pop("cfg", None)
    if typed.get("sync_bn"):
        recipe.pop("bn_group", None)
    if typed.get("bn_group"):
        recipe.pop("sync_bn", None)


def _plain(kind: type[Plain], typed: Mapping[str, Any]) -> tuple[Plain, Origins]:
    values, origins = _defaults(kind)
    _take(values, origins, typed, COMMAND_LINE)
    return kind(**values), origins


def _defaults(kind: type) -> tuple[dict[str, Any], Origins]:
    values = defaults_of(kind)
    return values, dict.fromkeys(values, DEFAULT)


def _take(values: dict[str, Any], origins: Origins, new: Mapping[str, Any], origin: str) -> None:
    values.update(new)
    origins.update(dict.fromkeys(new, origin))


def _place(name: str, origins: Origins) -> str:
    """Return where a value was written, for messages: the flag, or the file that set it."""
    return flag_of(name) if origins[name] in (COMMAND_LINE, DEFAULT) else f"{origins[name]}, key '{name}'"
