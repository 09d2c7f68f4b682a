"""What a user typed for a search, taken apart: the search, the training, and the words that repeat each."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accel_yolo.config.flag import Flag
from accel_yolo.config.flags import Parsed
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.config.resolve import RESUMABLE_KEYS, resolve_train
from accel_yolo.config.rules import AUTO_BATCH
from accel_yolo.config.schema import TrainConfig
from accel_yolo.config.search_schema import EvolveConfig, SearchConfig
from accel_yolo.config.settings import defaults_of, rules_of
from accel_yolo.config.train_flags import TRAIN
from accel_yolo.config.tune_flags import TUNE
from accel_yolo.errors import ConfigError

EVOLVE_PROJECT = "runs/evolve"
STUDY_FILE = "study.yaml"
"""Lies in the folder of every study: what it searches."""
_SAID_BY_THE_SEARCH = ("resume", "project", "name", "exist_ok", "nosave", "save_period", "quiet", "debug")


@dataclass(frozen=True)
class AskedSearch:
    """A search as it was asked for.

    Attributes:
        config: the training that is repeated.
        search: settings of the search.
        typed: the settings of the training that were typed.
        launch: those of processes and machines that were typed.
        is_new: begin a study beside those that exist, with a number added to the name of the folder.
    """

    config: TrainConfig
    search: SearchConfig
    typed: Mapping[str, Any]
    launch: Mapping[str, Any]
    is_new: bool = False

    def training_words(self) -> list[str]:
        """Return the flags of a training, without what every trial has of its own."""
        said = (*_SAID_BY_THE_SEARCH, "hyp_file")
        return words_of(TRAIN, {key: value for key, value in {**self.typed, **self.launch}.items() if key not in said})

    def resuming_words(self) -> list[str]:
        """Return the flags that may be typed when a training is resumed: the rest it knows."""
        # Code is named on the command line only, also where a run goes on.
        allowed = {*RESUMABLE_KEYS, "augment_with", *rules_of(LaunchConfig)} - set(_SAID_BY_THE_SEARCH)
        return words_of(TRAIN, {key: value for key, value in {**self.typed, **self.launch}.items() if key in allowed})

    def command(self, study: Path) -> str:
        """Return the command that continues the study, without the name of the program."""
        asked = {name: getattr(self.search, name) for name in rules_of(SearchConfig)}
        own = {name: value for name, value in asked.items() if value != defaults_of(SearchConfig)[name]}
        own |= {"trials": self.search.trials, "study": str(study)}
        kept = {key: value for key, value in {**self.typed, **self.launch}.items() if key not in _SAID_BY_THE_SEARCH}
        return shlex.join(["tune", *words_of(TUNE, {**own, **kept})])


def asked_search(parsed: Parsed) -> AskedSearch | None:
    """Return the search that a command line asks for, None for anything else.

    Raises:
        ConfigError: flags that do not go together, or a training that cannot be.
        DataError: there is no such data YAML.
    """
    if parsed.command not in ("train", "tune"):
        return None
    kind = SearchConfig if parsed.command == "tune" else EvolveConfig
    own = {name: parsed.values[name] for name in rules_of(kind) if name in parsed.values}
    typed = {name: value for name, value in parsed.values.items() if name not in own}
    if parsed.command == "train":
        if not own:
            return None
        _check_evolve(own, typed, parsed.launch)
    config, _ = resolve_train(typed)
    if config.batch == AUTO_BATCH:
        # Trials of different batches could not be compared, nor the best one repeated.
        raise ConfigError("every trial would choose a batch of its own", "--batch", "-1", "give a number")
    if parsed.command == "tune":
        return AskedSearch(config, SearchConfig(**own), typed, parsed.launch)
    settings: dict[str, Any] = {"trials": own.get("evolve", 300), "population": own.get("evolve_population", "")}
    if own.get("resume_evolve"):
        if not (Path(own["resume_evolve"]) / STUDY_FILE).is_file():
            remedy = "give the folder of a study, such as runs/evolve/exp"
            raise ConfigError("there is no study", "--resume_evolve", own["resume_evolve"], remedy)
        return AskedSearch(config, SearchConfig(**settings, study=own["resume_evolve"]), typed, parsed.launch)
    project, name = Path(typed.get("project", EVOLVE_PROJECT)), config.name
    search = SearchConfig(**settings, study=str(project / name))
    return AskedSearch(config, search, typed, parsed.launch, is_new=not config.exist_ok)


def _check_evolve(own: Mapping[str, Any], typed: Mapping[str, Any], launch: Mapping[str, Any]) -> None:
    if "evolve" not in own and "resume_evolve" not in own:
        place, value = "--evolve_population", own["evolve_population"]
        raise ConfigError("there is no search that it belongs to", place, value, "add --evolve")
    if "resume" in typed:
        remedy = "a search is continued by --resume_evolve and its folder"
        raise ConfigError("a search does not continue a training", "--resume", typed["resume"], remedy)
    if launch.get("machines", 1) > 1:
        raise several_machines("--machines", launch["machines"])


def several_machines(where: str, count: int) -> ConfigError:
    """Return the error for a search whose trials would each need several machines."""
    remedy = "start the same command on each machine, with --study in a folder that they share"
    return ConfigError("each trial trains on one machine", where, count, remedy)


def words_of(flags: tuple[Flag, ...], values: Mapping[str, Any]) -> list[str]:
    """Return words that set these values, in the order of the table of flags."""
    words: list[str] = []
    left = dict(values)
    for flag in flags:
        if flag.later or flag.fills not in left:
            continue
        value = left.pop(flag.fills)
        if flag.nargs == 0:
            words += [flag.name] if value == flag.const else []
        elif flag.nargs == "+":
            words += [flag.name, *map(str, value)]
        else:
            words += [flag.name, str(value)] if _is_plain(str(value)) else [f"{flag.name}={value}"]
    assert not left, f"no flag sets {sorted(left)}"
    return words


def _is_plain(text: str) -> bool:
    """Return whether a value may stand after its flag as a word of its own."""
    return bool(text) and not text.startswith("-")
