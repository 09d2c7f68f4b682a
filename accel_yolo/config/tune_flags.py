"""The flags of `tune`: those of the training that is repeated, and those of the search."""

from __future__ import annotations

from accel_yolo.config.flag import Flag, switch, value
from accel_yolo.config.train_flags import TRAIN

_SEARCH = "search"

# A trial names its own folder and keeps no weights; each worker trains on its own machine.
OF_ONE_RUN = (
    "resume",
    "evolve",
    "evolve_population",
    "resume_evolve",
    "project",
    "name",
    "exist_ok",
    "nosave",
    "save_period",
    "report_to",
    "report_timeout",
    "entity",
    "machines",
    "machine_rank",
    "main_process_ip",
    "main_process_port",
    "connect_timeout",
)

TUNE = (
    value("--trials", "trials of the study, over all processes that work on it", _SEARCH, "N"),
    value("--study", "folder of the study; one that exists is continued", _SEARCH, "FOLDER"),
    Flag(
        ("--search",),
        "the hyper-parameters to change, such as lr0 mosaic (default: those that YOLOv5's --evolve changes)",
        "search",
        _SEARCH,
        nargs="+",
        metavar="NAME",
    ),
    value("--population", "folder of hyper-parameter files to try first", _SEARCH, "FOLDER"),
    switch("--no-prune", "train every trial to its end, also when it falls behind the others", _SEARCH),
    *(flag for flag in TRAIN if not flag.later and flag.fills and flag.fills not in OF_ONE_RUN),
)
