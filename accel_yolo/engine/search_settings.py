"""What a study is a study of: written once, and compared with by whoever continues it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accel_yolo.config.genes import Gene, starting_point
from accel_yolo.config.hyp_file import RECIPE_KEYS, read_hyp_file
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.config.settings import flag_of, rules_of
from accel_yolo.config.shipped import find_config
from accel_yolo.config.yaml_io import dump_yaml, load_yaml, parse_yaml
from accel_yolo.errors import ConfigError
from accel_yolo.files import write_text_atomic
from accel_yolo.version import __version__

FILE_NAME = "study.yaml"

# What says where and on what a trial runs and not what comes out of it: it may differ between workers.
_FREE = (
    "resume",
    "project",
    "name",
    "exist_ok",
    "hyp_file",
    "device",
    "workers",
    "compile",
    "cuda_graphs",
    "cache",
    "cache_dir",
    "nosave",
    "noplots",
    "bbox_interval",
    "save_period",
    "report_to",
    "report_timeout",
    "entity",
    "verbose",
    "quiet",
    "debug",
)


@dataclass(frozen=True)
class StudySettings:
    """The training that is repeated and what is changed in it.

    Attributes:
        config: the training, as it was resolved.
        recipe: what its hyper-parameter file settles besides hyper-parameters.
        genes: the hyper-parameters that are changed.
        prune: whether a trial that falls behind is ended.
    """

    config: TrainConfig
    recipe: Mapping[str, Any]
    genes: tuple[Gene, ...]
    prune: bool

    @classmethod
    def of(cls, config: TrainConfig, genes: Sequence[Gene], *, prune: bool) -> StudySettings:
        """Return the settings of a study of a training."""
        _, path = find_config("hyps", config.hyp_file, "--hyp")
        recipe = {key: value for key, value in read_hyp_file(path).items() if key in RECIPE_KEYS}
        return cls(config, recipe, tuple(genes), prune)

    @property
    def start(self) -> dict[str, float]:
        """The values of the starting recipe, moved into the ranges."""
        return starting_point(self.genes, self.config.hyp)

    def hyp(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return all hyper-parameters of a trial as they are trained: those of the recipe and the changed ones."""
        hyp = {name: getattr(self.config.hyp, name) for name in rules_of(Hyp)}
        hyp |= {gene.name: gene.shown(values[gene.name]) for gene in self.genes if gene.name in values}
        return {name: value for name, value in hyp.items() if value is not None}

    def hyp_text(self, values: Mapping[str, float]) -> str:
        """Return the hyper-parameter file of a trial: complete, the rest of the recipe included."""
        return dump_yaml({**self.recipe, **self.hyp(values)})

    def plain(self) -> dict[str, Any]:
        """Return what must be the same for everybody who works on the study."""
        config = {name: getattr(self.config, name) for name in rules_of(TrainConfig) if name not in _FREE}
        config = {name: list(value) if isinstance(value, tuple) else value for name, value in config.items()}
        space = {gene.name: {"low": gene.low, "high": gene.high, "log": gene.log} for gene in self.genes}
        return {"train": config, "hyp": self.hyp({}), "search": space, "prune": self.prune}

    def save(self, folder: Path) -> None:
        """Write `study.yaml`. Raises EnvironmentFault."""
        heading = "# What this study searches; whoever continues it must search the same.\n"
        write_text_atomic(folder / FILE_NAME, heading + dump_yaml({"version": __version__, **self.plain()}))

    def require_same(self, folder: Path) -> None:
        """Compare with the study in a folder.

        Raises:
            ConfigError: naming the first setting that differs, or a study.yaml that cannot be read.
        """
        saved = load_yaml(folder / FILE_NAME)
        if not isinstance(saved.data, dict):
            raise ConfigError("not a study", saved.file, remedy="choose another --study")
        now = parse_yaml(dump_yaml(self.plain()), "now").data
        for section, wanted in now.items():
            had = saved.data.get(section)
            if had == wanted:
                continue
            if not isinstance(had, dict) or not isinstance(wanted, dict):
                raise _differs(folder, _flag(section, section), had, wanted)
            key = next(key for key in [*wanted, *had] if had.get(key) != wanted.get(key))
            raise _differs(folder, _flag(section, key), had.get(key), wanted.get(key))


def _flag(section: str, key: str) -> str:
    """Return how the user sets what differs."""
    if section == "prune":
        return "--no-prune"
    if section == "train":
        return flag_of(key)
    return f"--search, {key}" if section == "search" else f"hyper-parameter {key}"


def _differs(folder: Path, where: str, had: Any, wanted: Any) -> ConfigError:
    remedy = f"{folder} was begun with {_shown(had)}: give the same, or choose another --study"
    return ConfigError("the study was begun with something else", where, _shown(wanted), remedy)


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "nothing"
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return "on" if value is True else "off" if value is False else str(value)
