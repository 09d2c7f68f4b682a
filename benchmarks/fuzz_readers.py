"""Prints what the readers of weights do with changed files: nothing but weights or one line may come of them.

    python benchmarks/fuzz_readers.py [--minutes 10] [--seed 0] [--kind pt safetensors] [--keep FOLDER]

Small real weights, as this project writes them, are changed (`mutations.py`) and read by `load_weights`, one after the
other in a child process that is watched: how much processor time and memory each takes, whether the process survives,
which exceptions leave the reader, and whether anything was imported, connected or started meanwhile. What must not be
is kept in `--keep`. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import multiprocessing
import os
import platform
import random
import resource
import signal
import sys
import tempfile
import time
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from mutations import MUTATORS

from accel_yolo import console
from accel_yolo.errors import CheckpointError
from accel_yolo.models.weights import load_weights, save_weights
from accel_yolo.models.weights_meta import WeightsMeta
from accel_yolo.models.yolov5_file import save_yolov5
from accel_yolo.models.zoo import build_detector

SLOW_S, HUNG_S = 1, 60
"""Processor seconds that a file may take, and seconds after which a reader is taken to hang."""
LARGE_MIB = 200
ADDRESS_SPACE_BYTES = 4 << 30
"""What a child may have beyond what it has at its start."""
BATCH = 500
"""Files that a child reads before the next one takes its place."""

FORBIDDEN = (
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "pickle.find_class",
)  # fmt: skip
"""Events of the interpreter that no reader may cause."""

SPEC = {
    "depth_multiple": 1.0, "width_multiple": 1.0, "anchors": [[10, 13, 16, 30], [30, 61, 62, 45]],
    "backbone": [
        [-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]], [-1, 1, "C3", [8]], [-1, 1, "Conv", [8, 3, 2]],
    ],
    "head": [[-1, 1, "nn.Upsample", ["None", 2, "nearest"]], [[-1, 2], 1, "Concat", [1]],
             [[5, 3], 1, "Detect", ["nc", "anchors"]]],
}  # fmt: skip


def seeds(folder: Path) -> dict[str, list[bytes]]:
    """Return whole files of each kind: detectors of two sizes, one of them with many names."""
    made: dict[str, list[bytes]] = {kind: [] for kind in MUTATORS}
    for names in ({0: "cat"}, {number: f"class {number}" for number in range(20)}):
        detector = build_detector(SPEC, names)
        meta = WeightsMeta.of(detector, 64, "made for a test")
        save_weights(folder / "x.safetensors", detector, meta)
        save_yolov5(folder / "x.pt", detector, meta)
        for kind in made:
            made[kind].append((folder / f"x.{kind}").read_bytes())
    return made


def read(kind: str, content: bytes, path: Path) -> str:
    """Return what became of a file: "weights", "refused", or what must not be."""
    path.write_bytes(content)
    before = _memory_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    begin = time.process_time()
    signal.alarm(HUNG_S)
    try:
        load_weights(path)
        outcome = "weights"
    except CheckpointError as error:
        outcome = "refused" if "\n" not in str(error) and str(path) in str(error) else f"unclear line: {error}"
    except BaseException as error:  # noqa: BLE001 - which ones leave the reader is the question
        outcome = f"exception {type(error).__name__}"
    finally:
        signal.alarm(0)
    if time.process_time() - begin > SLOW_S:
        outcome += ", slow"
    if _memory_mib("VmHWM") - before > LARGE_MIB:
        outcome += ", large"
    return outcome


def work(kind: str, whole: list[bytes], seed: str, sender: Connection, folder: Path, keep: Path | None) -> None:
    """Read a batch of changed files and tell of each; first its number, then what became of it."""
    os.chdir(folder)
    console.quiet()
    room = _memory_mib("VmSize") * (1 << 20) + ADDRESS_SPACE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    draw = random.Random(seed)
    events: list[str] = []
    sys.addaudithook(lambda event, _: events.append(event) if event in FORBIDDEN else None)
    for number in range(BATCH):
        content = MUTATORS[kind](draw.choice(whole), draw)
        sender.send((number, None))
        outcome = read(kind, content, folder / f"file.{kind}")
        if ", slow" in outcome:  # the first file of its sort may be what a part of torch is imported for
            outcome = read(kind, content, folder / f"file.{kind}")
        if events:
            outcome += f", event {events.pop()}"
            events.clear()
        _kept(keep, kind, outcome, seed, number, folder)
        sender.send((number, outcome))
    sender.close()


def run_batch(kind: str, whole: list[bytes], seed: str, folder: Path, keep: Path | None) -> collections.Counter[str]:
    """Return how often each outcome came in one child; a child that dies is an outcome too."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=work, args=(kind, whole, seed, sender, folder, keep))
    child.start()
    sender.close()
    counts: collections.Counter[str] = collections.Counter()
    current = 0
    try:
        while receiver.poll(HUNG_S + 10):
            current, outcome = receiver.recv()
            if outcome is not None:
                counts[outcome] += 1
        child.kill()
        counts["hung"] += 1
        _kept(keep, kind, "hung", seed, current, folder)
    except EOFError:
        child.join()
        if child.exitcode:
            counts[f"crashed with {child.exitcode}"] += 1
            _kept(keep, kind, "crashed", seed, current, folder)
    child.join()
    return counts


def _kept(keep: Path | None, kind: str, outcome: str, seed: str, number: int, folder: Path) -> None:
    if keep is not None and outcome not in ("weights", "refused"):
        words = [*outcome.partition(":")[0].replace(",", "").split(), *seed.split(), str(number)]
        (keep / f"{'-'.join(words)}.{kind}").write_bytes((folder / f"file.{kind}").read_bytes())


def _memory_mib(entry: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{entry}:"):
            return int(line.split()[1]) // 1024
    raise ValueError(entry)


def main() -> int:
    """Return 0 if nothing came but weights and refusals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", nargs="+", default=list(MUTATORS), choices=list(MUTATORS))
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    if options.keep:
        options.keep = options.keep.resolve()  # a child works elsewhere
        options.keep.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    torch.set_num_threads(1)  # a child inherits no threads, and would wait for them
    totals = {kind: collections.Counter() for kind in options.kind}
    begin, batch = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        whole = seeds(folder)
        while time.monotonic() - begin < options.minutes * 60:
            kind = options.kind[batch % len(options.kind)]
            totals[kind] += run_batch(kind, whole[kind], f"{options.seed} {batch}", folder, options.keep)
            batch += 1
        left = sorted(path.name for path in folder.iterdir() if not path.name.startswith(("x.", "file.")))
    print(f"{datetime.datetime.now(tz=datetime.timezone.utc):%Y-%m-%d}, seed {options.seed}, "
          f"{(time.monotonic() - begin) / 60:.1f} minutes on one core. Python {platform.python_version()}, "
          f"torch {version('torch')}, safetensors {version('safetensors')}.\n")  # fmt: skip
    print("| reader | outcome | files |\n|---|---|---|")
    for kind, counts in totals.items():
        for outcome, count in counts.most_common():
            print(f"| .{kind} | {outcome} | {count} |")
    print(f"\nFiles that appeared: {', '.join(left) or 'none'}.")
    bad = sum(sum(counts.values()) - counts["weights"] - counts["refused"] for counts in totals.values())
    return 1 if bad or left else 0


if __name__ == "__main__":
    sys.exit(main())
