"""The parts of the comparison: each starts its arms, lets them take turns and returns its table."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from arms import HERE, Arm, Place, Rounds, arms_in_turns, markdown
from loss_curves import curves
from setup_of_arms import Setup
from whole_commands import epoch, validation

WAYS = {
    "no cache, partners of the whole epoch": "",
    "no cache, decode once": " --decode-once",
    "packed cache": " --cache packed",
}
"""Ways of getting images, and the flags of our_driver.py for each."""

COLOURS = {"loader": "colour in the loader", "device": "colour left to the device"}

Number = Callable[[dict[str, Any]], float]


def _cpu_ms(turn: dict[str, Any]) -> float:
    return turn["cpu_seconds"] / turn["images"] * 1e3


def _wall_ms(turn: dict[str, Any]) -> float:
    return turn["seconds"] / turn["images"] * 1e3


def _ratio_cells(rounds: Rounds, name: str, bases: Sequence[str], of: Number) -> list[object]:
    """Return how many times faster an arm is than each base; a dash where the base is missing."""
    return [rounds.ratio(base, name, of) if base in rounds.turns else "-" for base in bases]


def loader(setup: Setup) -> str:
    """Samples of the mosaic recipe at 640 px on one core."""
    place, words = setup.one_core, f"loader --imgsz 640 --batch {setup.arguments.batch}"
    bases = ["reference, no cache", "reference, --cache ram"]
    arms = setup.theirs(bases[0], words, place) + setup.theirs(bases[1], f"{words} --cache ram", place)
    arms += _our_loaders(setup, words, place)
    rounds = arms_in_turns(arms, setup.arguments.rounds, untimed=2)
    rows = [
        [arm.name, rounds.median(arm.name, _cpu_ms), 1e3 / rounds.median(arm.name, _cpu_ms)]
        + _ratio_cells(rounds, arm.name, bases, _cpu_ms)
        for arm in arms
    ]
    columns = ["loader", "ms of processor time a sample", "samples/s", "x no cache", "x --cache ram"]
    return markdown("Loader, mosaic recipe, 640 px, one core, no workers", columns, rows)


def _our_loaders(setup: Setup, words: str, place: Place) -> list[Arm]:
    return [
        setup.ours(f"{way}; {said}", f"{words}{flags} --colour {colour}", place)
        for colour, said in COLOURS.items()
        for way, flags in WAYS.items()
    ]


def step(setup: Setup) -> str:
    """A training step, for every size and image size."""
    return "\n".join(
        _step(setup, size, int(imgsz))
        for size in setup.arguments.sizes.split(",")
        for imgsz in setup.arguments.images.split(",")
    )


def _step(setup: Setup, size: str, imgsz: int) -> str:
    place, batch = (Place() if setup.on_gpu else setup.one_core), setup.arguments.batch
    steps = 20 if setup.on_gpu else 2 if imgsz <= 320 else 1
    words = f"step --size {size} --imgsz {imgsz} --batch {batch} --steps {steps}"
    arms = setup.theirs("reference, fp32", words, place)
    if setup.on_gpu:
        arms += setup.theirs("reference, its AMP (fp16)", f"{words} --precision fp16", place)
    arms += [setup.ours(f"ours, {kind}", f"{words} --precision {kind}", place) for kind in ("fp32", "bf16")]
    of = _wall_ms if setup.on_gpu else _cpu_ms
    rounds = arms_in_turns(arms, setup.arguments.rounds)
    bases = [arms[0].name, arms[1].name] if setup.on_gpu and setup.reference else [arms[0].name]
    rows = []
    for arm in arms:
        ms = rounds.median(arm.name, of)
        peak = rounds.turns[arm.name][-1].get("peak_bytes", 0) / 2**30 or "-"
        rows.append([arm.name, ms * batch, 1e3 / ms, peak, *_ratio_cells(rounds, arm.name, bases, of)])
    clock = "ms" if setup.on_gpu else "ms of processor time"
    columns = ["step", clock, "images/s", "GiB of tensors at most", *(f"x {base}" for base in bases)]
    threads = "" if setup.on_gpu else ", one thread"
    return markdown(f"Training step, yolov5{size}, {imgsz} px, batch {batch}{threads}", columns, rows)


def waiting(setup: Setup) -> str:
    """Waiting for data with steps of 5 ms an image."""
    count, place = setup.arguments.workers, Place(threads=1)
    words = f"waiting --imgsz 640 --batch {setup.arguments.batch} --workers {count} --repeat 4"
    arms = setup.theirs("reference, no cache", words, place)
    arms += setup.theirs("reference, --cache ram", f"{words} --cache ram", place)
    arms += _our_loaders(setup, words, place)
    rounds = arms_in_turns(arms, setup.arguments.rounds)

    def share(turn: dict[str, Any]) -> float:
        return 100 * turn["waited_s"] / (turn["seconds"] - turn["first_s"])

    rows = [[arm.name, rounds.median(arm.name, share), 1e3 / rounds.median(arm.name, _wall_ms)] for arm in arms]
    columns = ["loader", "% of the time spent waiting for data", "images/s (200 at most)"]
    return markdown(f"Waiting for data, {count} workers, 640 px, steps of 5 ms an image", columns, rows)


def processes(setup: Setup) -> str:
    """Two processes of one thread each against one of two threads."""
    batch, rows = setup.arguments.batch, []
    words = f"step --imgsz 320 --batch {batch} --steps 2"
    for kind in ("fp32", "bf16"):
        flags = f"{words} --precision {kind}"
        arms = [
            setup.ours("one process, two threads", flags, Place(setup.cores[:2], 2)),
            setup.ours("two processes, one thread each", flags, Place(setup.cores[:2], 1), 2),
            setup.ours("the same without exchange", f"{flags} --apart", Place(setup.cores[:2], 1), 2),
        ]
        rounds = arms_in_turns(arms, setup.arguments.rounds)
        one, two, apart = (arm.name for arm in arms)
        shares = 100 * (1 - rounds.values(apart, _wall_ms) / rounds.values(two, _wall_ms))
        for arm in arms:
            ratio = rounds.ratio(one, arm.name, _wall_ms)
            shown = float(np.median(shares)) if arm.name == two else "-"
            rows.append([kind, arm.name, rounds.median(arm.name, _wall_ms) * batch, ratio, shown])
    columns = ["precision", "step", "ms", "x one process", "% of the step for exchange"]
    return markdown(f"Processes, yolov5n, 320 px, batch {batch} in total", columns, rows)


def memory(setup: Setup) -> str:
    """What a cache takes in every process that reads it."""
    place, words = setup.one_core, f"memory --imgsz 640 --batch {setup.arguments.batch}"
    pairs = [(setup.theirs(name, words + flags, place)) for name, flags in (
        ("reference, no cache", ""), ("reference, --cache ram", " --cache ram"),
    )]  # fmt: skip
    arms: list[Arm] = [arm for pair in pairs for arm in pair]
    setup.ours("the maker of the packed cache", f"{words} --cache packed", place).end()
    arms += [
        setup.ours("ours, no cache", words, place),
        setup.ours("ours, packed cache", f"{words} --cache packed", place),
    ]
    rounds = arms_in_turns(arms, 1)
    own = {arm.name: rounds.median(arm.name, lambda turn: turn["own_bytes"] / 2**20) for arm in arms}
    rows = [
        [name, mib, "-" if "no cache" in name else mib - own[f"{name.split(',')[0]}, no cache"]]
        for name, mib in own.items()
    ]
    columns = ["after reading the whole set", "MiB of this process alone", "MiB more than without the cache"]
    return markdown("Memory of each process", columns, rows)


def loop(setup: Setup) -> str:
    """Training with workers and real steps."""
    rows, arguments = [], setup.arguments
    columns = ["size", "training loop", "images/s", "% waiting", "GiB of tensors at most", "x the first"]
    for size in arguments.sizes.split(","):
        words = f"loop --size {size} --imgsz 640 --batch {arguments.batch} --workers {arguments.workers} --repeat 4"
        kind = "fp16" if setup.on_gpu else "fp32"
        arms = setup.theirs(f"reference, {kind}, no cache", f"{words} --precision {kind}", Place())
        arms += setup.theirs(f"reference, {kind}, --cache ram", f"{words} --precision {kind} --cache ram", Place())
        colour = "device" if setup.on_gpu else "loader"
        words += f" --precision bf16 --colour {colour}"
        arms += [setup.ours("ours, bf16, decode once", f"{words} --decode-once", Place())]
        arms += [setup.ours("ours, bf16, packed cache", f"{words} --cache packed", Place())]
        rounds = arms_in_turns(arms, arguments.rounds)
        for arm in arms:
            ms, last = rounds.median(arm.name, _wall_ms), rounds.turns[arm.name][-1]
            waited = 100 * last["waited_s"] / last["seconds"]
            peak = last.get("peak_bytes", 0) / 2**30 or "-"
            rows.append([size, arm.name, 1e3 / ms, waited, peak, rounds.ratio(arms[0].name, arm.name, _wall_ms)])
    return markdown(f"Training loop, 640 px, batch {arguments.batch}, {arguments.workers} workers", columns, rows)


def trace(setup: Setup) -> str:
    """One step of ours under the profiler."""
    words = ["--data", str(setup.data), "--device", setup.arguments.device, "--batch", str(setup.arguments.batch)]
    words += ["--sizes", setup.arguments.sizes, "--precision", "bf16"]
    program = [sys.executable, str(HERE / "trace_of_step.py"), *words]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout


PARTS = {
    "loader": loader,
    "step": step,
    "validation": validation,
    "epoch": epoch,
    "processes": processes,
    "waiting": waiting,
    "memory": memory,
    "curves": curves,
    "loop": loop,
    "trace": trace,
}
