"""Settings of a search of hyper-parameters: of `accel-yolo tune`, and of YOLOv5's `--evolve`."""

from __future__ import annotations

from dataclasses import dataclass

from accel_yolo.config.genes import GENES
from accel_yolo.config.rules import Choice, Several, Text
from accel_yolo.config.settings import check_fields, count, flag_of, setting, switch, utf8_folder


@dataclass(frozen=True)
class SearchConfig:
    """What `accel-yolo tune` asks besides the training that it repeats.

    Attributes:
        trials: trials of the study, over all processes that work on it.
        study: its folder; one that exists is continued.
        search: the hyper-parameters to change; () for the usual ones.
        population: a folder of hyper-parameter files to try first, "" for none.
        no_prune: train every trial to its end.
    """

    trials: int = count(100, low=1)
    study: str = utf8_folder("runs/tune/exp", "a folder")
    search: tuple[str, ...] = setting((), Several(Choice(tuple(GENES)), least=0))
    population: str = setting("", Text())
    no_prune: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)


@dataclass(frozen=True)
class EvolveConfig:
    """The same search by YOLOv5's flags of training.

    Attributes:
        evolve: trials; 0 for a training and no search.
        evolve_population: a folder of hyper-parameter files to try first.
        resume_evolve: the folder of the study to continue.
    """

    evolve: int = count(0, low=1)
    evolve_population: str = setting("", Text())
    resume_evolve: str = setting("", Text())
