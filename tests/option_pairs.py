"""Rows of options of training in which every pair that goes together comes at least once.

Run as a program, it writes the record anew.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from accel_yolo.config.exclusions import EXCLUSIONS
from accel_yolo.config.train_flags import TRAIN

RECORD = Path(__file__).parent / "integration" / "option_pairs.txt"

VALUES: dict[str, tuple[object, ...]] = {
    "batch": (-1,),
    "imgsz": (96,),
    "optimizer": ("Adam", "AdamW"),
    "seed": (3,),
    "decode_once": (4,),
    "label_smoothing": (0.1,),
    "patience": (1,),
    "freeze": ("backbone", 10),
    "bn_group": (4,),
    "micro_batch": (4,),
    "gradient_compression": ("bf16",),
    "nominal_batch": (24,),
    "ema_decay": (0.9,),
    "ema_tau": (10,),
    "max_grad_norm": (1,),
    "warmup_min_steps": (2,),
    "bad_data": ("drop",),
    "workers": (2,),
    "bbox_interval": (1,),
    "save_period": (1,),
    "save_every": ("2steps",),
    "precision": ("bf16",),
    "cache": ("ram", "val"),
    "fraction": (0.7,),
    "classes": ("a c",),
    "close_mosaic": (1,),
    "class_balanced": (0.5,),
    "augment_with": ("tinted:tint",),
    "hyp_file": ("scratch-high",),
    "processes": (2,),
    "collective_timeout": (300,),
}
"""Setting -> the values that are tried."""

MOST_OF_A_ROW = 14
"""Options of a row: more would hide which of them fails."""

ALWAYS = ("weights", "cfg", "data", "epochs", "device", "project", "name")
"""Settings that every row has."""

LEFT_OUT = {
    "resume": "continues another run: test_resume.py",
    "evolve": "is a search: test_search.py",
    "evolve_population": "belongs to --evolve",
    "resume_evolve": "belongs to --evolve",
    "exist_ok": "says where the run lies: test_run_folder_safety.py",
    "cache_dir": "says where the cache lies: test_image_cache.py",
    "config_file": "says what --processes says: test_launch.py",
    "machines": "needs several machines: test_two_machines.py",
    "machine_rank": "belongs to --machines",
    "main_process_ip": "belongs to --machines",
    "main_process_port": "belongs to --machines",
    "interface": "belongs to --machines",
    "connect_timeout": "belongs to --machines",
    "max_restarts": "is of no consequence without a failure: test_restarts.py",
    "debug": "shows tracebacks",
    "quiet": "hides what is checked",
    "report_to": "tells others of the run: test_trackers.py",
    "report_timeout": "belongs to --report-to",
    "entity": "belongs to --report-to",
    "compile": "needs a GPU",
    "cuda_graphs": "needs a GPU",
}


@dataclass(frozen=True)
class Option:
    """A flag with its value.

    Attributes:
        flag: as it is typed.
        setting: what it sets.
        value: what it is set to; True for a switch.
    """

    flag: str
    setting: str
    value: object

    @property
    def words(self) -> str:
        """As it is typed."""
        return self.flag if self.value is True else f"{self.flag} {self.value}"


def options() -> list[Option]:
    """Return all options that are tried, in the order of the table of flags."""
    found = []
    for flag in TRAIN:
        if flag.later or not flag.fills or flag.fills in (*ALWAYS, *LEFT_OUT):
            continue
        values = (True,) if flag.nargs == 0 else VALUES[flag.fills]
        found += [Option(flag.name, flag.fills, value) for value in values]
    return found


def pairs() -> set[frozenset[Option]]:
    """Return all pairs of options that go together."""
    return {frozenset(pair) for pair in itertools.combinations(options(), 2) if _go_together(*pair)}


def rows() -> list[list[Option]]:
    """Return few rows that hold all pairs; greedy, hence the same each time."""
    every, left = options(), pairs()
    found = []
    while left:
        row: list[Option] = []
        while len(row) < MOST_OF_A_ROW:
            fitting = [option for option in every if option not in row and all(_go_together(option, o) for o in row)]
            gains = [sum(frozenset((option, other)) in left for other in row or every) for option in fitting]
            if not gains or max(gains) == 0:
                break
            row.append(fitting[gains.index(max(gains))])
        left -= {frozenset(pair) for pair in itertools.combinations(row, 2)}
        found.append(sorted(row, key=every.index))
    return found


def lines() -> list[str]:
    """Return the rows as they are typed."""
    return [" ".join(option.words for option in row) for row in rows()]


def _go_together(first: Option, second: Option) -> bool:
    values = {first.setting: first.value, second.setting: second.value}
    return len(values) == 2 and not any(
        values.keys() == {each.first, each.second} and (not each.values or values[each.second] in each.values)
        for each in EXCLUSIONS
    )


if __name__ == "__main__":
    RECORD.write_text("\n".join(lines()) + "\n")
