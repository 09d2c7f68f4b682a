"""Whole commands of both sides, start to end: validation and training."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from arms import Place, in_turns, markdown
from setup_of_arms import Setup


def validation(setup: Setup) -> str:
    """The validation command, start to end."""
    words = f"--weights {setup.weights} --img 640 --batch 32 --workers {setup.arguments.workers}".split()
    sides = ["reference", "ours"] if setup.reference else ["ours"]
    place = Place(threads=len(setup.cores))
    rounds = in_turns({side: partial(setup.command, side, "val.py", words, place) for side in sides},
                      setup.arguments.rounds)  # fmt: skip
    rows = []
    for side in sides:
        last = rounds.turns[side][-1]
        found = re.findall(r"^\s*all\s+\d+\s+\d+\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)", last["out"], re.M)
        names = ("precision", "recall", "map50", "map50_95")
        shown = [round(last["metrics"][name], 3) for name in names] if side == "ours" else found[-1]
        cells: list[object] = [side]
        for of in (_seconds, _cpu_s):
            cells += [rounds.median(side, of), rounds.ratio(side, sides[0], of)]
        rows.append([*cells, *map(str, shown)])
    share = f"share of {sides[0]}"
    columns = ["val.py", "s", share, "s of processor time", share, "P", "R", "mAP50", "mAP50-95"]
    return markdown("Validation, 640 px, fp32, start to end", columns, rows)


def epoch(setup: Setup) -> str:
    """The training command for one and for two epochs."""
    words = f"--img 320 --batch 16 --workers {setup.arguments.workers} --weights {setup.weights}".split()
    words += ["--noautoanchor", "--noplots"]
    place, work = Place(threads=len(setup.cores)), {}
    kinds = [("reference", "reference", [])] if setup.reference else []
    kinds += [(f"ours, {kind}", "ours", ["--precision", kind]) for kind in ("fp32", "bf16")]

    def both(side: str, flags: list[str]) -> dict[str, Any]:
        one, two = (
            setup.command(side, "train.py", [*words, *flags, "--epochs", str(number)], place) for number in (1, 2)
        )
        parts = {"epoch_s": two["seconds"] - one["seconds"], "epoch_cpu_s": two["cpu_seconds"] - one["cpu_seconds"]}
        return {**one, **parts}

    work = {name: partial(both, side, flags) for name, side, flags in kinds}
    rounds, base = in_turns(work, setup.arguments.rounds), kinds[0][0]
    rows = []
    for name in work:
        cells: list[object] = [name]
        for of in (_seconds, _epoch_s, _epoch_cpu_s):
            cells += [rounds.median(name, of), rounds.ratio(name, base, of)]
        rows.append(cells)
    share = f"share of {base}"
    columns = ["train.py", "s, one epoch, start to end", share, "s, two epochs less one", share]
    columns += ["the same in s of processor time", share]
    return markdown("An epoch at 320 px, batch 16, validation included", columns, rows)


def _seconds(turn: dict[str, Any]) -> float:
    return turn["seconds"]


def _epoch_s(turn: dict[str, Any]) -> float:
    return turn["epoch_s"]


def _cpu_s(turn: dict[str, Any]) -> float:
    return turn["cpu_seconds"]


def _epoch_cpu_s(turn: dict[str, Any]) -> float:
    return turn["epoch_cpu_s"]
