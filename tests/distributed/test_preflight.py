"""What is compared before a run of several machines: whatever differs is named with its machine, on every process."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from commands import make_data
from machines import join, outcome

import accel_yolo
from accel_yolo import console
from accel_yolo.config.data_union import DataUnion
from accel_yolo.config.dataset import load_data_spec
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.data.index import build_index
from accel_yolo.engine import link_speed, machine_facts, run_facts
from accel_yolo.engine.data_comparison import compare_data
from accel_yolo.engine.link_speed import try_links
from accel_yolo.engine.preflight import preflight
from accel_yolo.engine.world import World
from accel_yolo.errors import DataError, PeerError

Outcomes = list[tuple[str, str, int, bool]]


# Code, settings, weights


def settings(**changes: Any) -> TrainConfig:
    return TrainConfig(**{"weights": "", "cfg": "yolov5n.yaml", "batch": 8, "device": "cpu", **changes})


def started_for(intents: tuple[str, ...]) -> tuple[str, str, int, bool]:
    return outcome(lambda: join(intents=intents))


def test_machines_that_were_started_for_different_things_stop_before_they_talk_past_each_other(
    run_processes: Callable[..., Outcomes],
) -> None:
    for kind, line, code, spoken in run_processes(2, started_for, ("train", "train --resume")):
        assert (kind, code, spoken) == ("PeerError", PeerError.exit_code, True)
        assert line.startswith("machines differ in the command that was started in machine 1 (beta): train --resume")
        assert "--no-preflight included" in line


def before_the_run(folder: Path, odd: int, change: str) -> tuple[str, str, int, bool]:
    """Run the preflight with something changed on process `odd`."""
    world = join()
    config = settings(epochs=3)
    weights = folder / f"{world.rank}.pt"
    weights.write_bytes(b"equal weights")
    if change == "weights":
        config = settings(epochs=3, weights=str(weights), cfg="")
    if world.rank == odd:
        config = changed(config, change, folder)
    return outcome(lambda: preflight(world, config))


def changed(config: TrainConfig, change: str, folder: Path) -> TrainConfig:
    if change == "version":
        known = run_facts.versions()
        run_facts.versions = lambda: {**known, "numpy": "1.26.4"}
    if change in ("source", "extra source"):
        copied = folder / "copy" / "accel_yolo"
        shutil.copytree(Path(accel_yolo.__file__).parent, copied)
        accel_yolo.__file__ = str(copied / "__init__.py")
        with (copied / ("boxes.py" if change == "source" else "extra.py")).open("a") as stream:
            stream.write("# mine\n")
    if change == "weights":
        Path(config.weights).write_bytes(b"other weights")
    if change == "model":
        text = (Path(accel_yolo.__file__).parents[1] / "configs" / "models" / "yolov5n.yaml").read_text()
        (folder / "mine.yaml").write_text(text.replace("width_multiple: 0.25", "width_multiple: 0.5"))
        return replace(config, cfg=str(folder / "mine.yaml"))
    return {
        "setting": replace(config, epochs=5),
        "hyper-parameter": replace(config, hyp=Hyp(lr0=0.02)),
        "resume": replace(config, resume="runs/train/exp"),
        "of the machine": replace(config, project=str(folder), workers=1, quiet=True, data="elsewhere.yaml"),
    }.get(change, config)


DIFFERENCES = {
    "version": ("the version of numpy", ": 1.26.4, machine 0 (alpha) has ", "; install the same version"),
    "source": ("the source file accel_yolo/boxes.py", "; install the same accel_yolo"),
    "extra source": ("the source file accel_yolo/extra.py", ", machine 0 (alpha) has none"),
    "setting": ("the setting --epochs", ": 5, machine 0 (alpha) has 3; type the same flags on every machine"),
    "hyper-parameter": ("the hyper-parameter lr0", ": 0.02, machine 0 (alpha) has 0.01"),
    "resume": ("--resume", ": given, machine 0 (alpha) has not given"),
    "weights": ("the weights", ", machine 0 (alpha) has ", "; copy the same file to every machine"),
    "model": ("the key 'width_multiple' of the model", ": 0.5, machine 0 (alpha) has 0.25"),
}


@pytest.mark.parametrize("change", DIFFERENCES)
def test_what_differs_is_named_with_its_machine_on_every_process(
    run_processes: Callable, tmp_path: Path, change: str
) -> None:
    outcomes: Outcomes = run_processes(2, before_the_run, tmp_path, 1, change)
    item, *parts = DIFFERENCES[change]
    for kind, line, code, is_spoken in outcomes:
        assert (kind, code, is_spoken) == ("PeerError", PeerError.exit_code, True)
        assert line.startswith(f"machines differ in {item} in machine 1 (beta): ")
        for part in parts:
            assert part in line
    assert len({line for _, line, _, _ in outcomes}) == 1


@pytest.mark.parametrize("change", ["nothing", "of the machine"])
def test_equal_machines_pass_whatever_their_paths_and_workers(
    run_processes: Callable, tmp_path: Path, change: str
) -> None:
    assert run_processes(2, before_the_run, tmp_path, 1, change) == [("", "", 0, False)] * 2


@pytest.mark.parametrize("odd", [0, 1, 2])
def test_of_three_machines_the_odd_one_is_named(run_processes: Callable, tmp_path: Path, odd: int) -> None:
    place = ("machine 0 (alpha)", "machine 1 (beta)", "machine 2 (gamma)")[odd]
    for kind, line, _, _ in run_processes(3, before_the_run, tmp_path, odd, "setting"):
        assert kind == "PeerError"
        assert line == (
            f"machines differ in the setting --epochs in {place}: 5, the others have 3; "
            "type the same flags on every machine"
        )


def two_of_two(folder: Path) -> Outcomes:
    """Two machines of two processes: first one whole machine differs, then one process of a machine."""
    world = join(per_machine=2)
    machine_differs = settings(epochs=4 if world.machine == 1 else 3)
    process_differs = settings(epochs=4 if world.rank == 3 else 3)
    return [outcome(lambda config=config: preflight(world, config)) for config in (machine_differs, process_differs)]


def test_with_several_processes_a_machine_the_first_of_each_speaks(run_processes: Callable, tmp_path: Path) -> None:
    results = run_processes(4, two_of_two, tmp_path)
    for whole_machine, one_process in results:
        assert "in machine 1 (beta): 4, machine 0 (alpha) has 3" in whole_machine[1]
        assert "in process 3 of machine 1 (beta): 4, the others have 3" in one_process[1]
    assert [whole_machine[3] for whole_machine, _ in results] == [True, False, True, False]


def skipping() -> tuple[str, str, int, bool]:
    world = join()
    config = settings(epochs=3 + world.rank)
    return outcome(lambda: preflight(world, config, LaunchConfig(no_preflight=True)))


def test_no_preflight_compares_nothing(run_processes: Callable) -> None:
    assert run_processes(2, skipping) == [("", "", 0, False)] * 2


def missing_weights(folder: Path) -> tuple[str, str, int, bool]:
    world = join()
    name = folder / ("there.pt" if world.rank == 0 else "gone.pt")
    (folder / "there.pt").write_bytes(b"weights")
    return outcome(lambda: preflight(world, settings(weights=str(name))))


def test_weights_that_one_machine_lacks_are_its_own_error(run_processes: Callable, tmp_path: Path) -> None:
    (first, line_here, code_here, _), (second, line_there, code_there, _) = run_processes(2, missing_weights, tmp_path)
    assert (first, second, code_here, code_there) == ("StoppedByPeer", "CheckpointError", 4, 4)
    assert line_here == f"machine 1 (beta): {line_there}"
    assert "gone.pt" in line_there


# Data


def own_copy(folder: Path, rank: int) -> Path:
    """Return the data YAML of this machine's own copy of a data set; its root has another path on each machine."""
    root = folder / f"disk{rank}" / "data"
    shutil.copytree(folder / "source", root)
    return root / "data.yaml"


def with_data(folder: Path, odd: int, change: str) -> tuple[str, str, int, bool]:
    world = join()
    file = own_copy(folder, world.rank)
    if world.rank == odd:
        change_data(file.parent, change)
    spec = load_data_spec(file)
    index = build_index(spec, "train", single_cls=False, bad_data="drop", workers=1)
    return outcome(lambda: compare_data(world, DataUnion((spec,), spec.names), {"train": index, "val": index}))


def change_data(root: Path, change: str) -> None:
    image, label = root / "images" / "2.png", root / "labels" / "2.txt"
    if change == "label":
        label.write_text("1 0.5 0.5 0.4 0.4\n")
    if change == "label without objects":
        label.write_text("")
    if change == "content":
        image.write_bytes(cv2.imencode(".png", np.zeros((64, 80, 3), np.uint8))[1].tobytes())
    if change == "missing":
        image.unlink()
    if change == "extra":
        shutil.copy(image, root / "images" / "9.png")
    if change == "several":
        for number in (1, 3):
            (root / "labels" / f"{number}.txt").unlink()
    if change == "class name":
        file = root / "data.yaml"
        file.write_text(file.read_text().replace("[a, b, c]", "[a, x, c]"))


DATA_DIFFERENCES = {
    "label": "{1}/labels/2.txt holds other labels: not those of machine 0 (alpha); ",
    "label without objects": "{1}/labels/2.txt holds other labels: 0 objects, 1 on machine 0 (alpha); ",
    "content": "the image {1}/images/2.png has another content than on machine 0 (alpha); ",
    "missing": "{0}/images/2.png is missing or unusable, machine 0 (alpha) has it; ",
    "extra": "{1}/images/9.png is there, machine 0 (alpha) does not have it; ",
    "several": "{1}/labels/1.txt holds other labels: 0 objects, 1 on machine 0 (alpha) (and 1 more images differ); ",
}


@pytest.mark.parametrize("change", DATA_DIFFERENCES)
def test_the_first_file_that_differs_is_named_with_its_machine(
    run_processes: Callable, tmp_path: Path, change: str
) -> None:
    make_data(tmp_path / "source")
    outcomes: Outcomes = run_processes(2, with_data, tmp_path, 1, change)
    roots = [tmp_path / f"disk{rank}" / "data" for rank in range(2)]
    expected = "machines differ in the training data in machine 1 (beta): " + DATA_DIFFERENCES[change].format(*roots)
    for kind, line, code, is_spoken in outcomes:
        assert (kind, code, is_spoken) == ("DataError", DataError.exit_code, True)
        assert line == f"{expected}copy the data set again, for example with rsync -a --delete"


def test_a_class_of_another_name_is_named(run_processes: Callable, tmp_path: Path) -> None:
    make_data(tmp_path / "source")
    for kind, line, code, _ in run_processes(2, with_data, tmp_path, 1, "class name"):
        assert (kind, code) == ("PeerError", 5)
        assert "the name of class 1 in machine 1 (beta): x, machine 0 (alpha) has b; use the same data YAML" in line


def test_equal_copies_pass_wherever_they_lie(run_processes: Callable, tmp_path: Path) -> None:
    make_data(tmp_path / "source")
    assert run_processes(2, with_data, tmp_path, 1, "nothing") == [("", "", 0, False)] * 2


def test_of_three_copies_the_odd_one_is_named(run_processes: Callable, tmp_path: Path) -> None:
    make_data(tmp_path / "source")
    for _, line, code, _ in run_processes(3, with_data, tmp_path, 0, "label"):
        assert code == 3
        assert line.startswith("machines differ in the training data in machine 0 (alpha): ")
        assert f"{tmp_path}/disk0/data/labels/2.txt holds other labels: not those of machine 1 (beta)" in line


# Links and clocks


def links() -> tuple[list[str], list[float], Outcomes]:
    world = join()
    measured = try_links(world)
    numbers = [number for link in measured for number in (link.latency_s, link.bandwidth_bytes_s)]
    return [link.name for link in measured], numbers, [outcome(lambda: distorted(world))]


def distorted(world: World) -> None:
    """Try the links while process 2 sends something else than it should."""
    if world.rank == 2:
        original = link_speed.dist.all_reduce
        link_speed.dist.all_reduce = lambda values, **options: original(
            values.mul_(2) if values.dtype == torch.float32 else values, **options
        )
    try_links(world)


def test_links_are_measured_alike_on_all_and_changed_messages_are_noticed(run_processes: Callable) -> None:
    results = run_processes(3, links)
    for names, numbers, [(kind, line, code, _)] in results:
        assert names == [
            "control messages (gloo)",
            "gradients (gloo)",
            "machine 0 (alpha) to machine 1 (beta)",
            "machine 0 (alpha) to machine 2 (gamma)",
        ]
        assert numbers == results[0][1]
        assert all(number > 0 for number in numbers)
        assert (kind, code) == ("PeerError", 5)
        assert line.startswith("messages arrive changed in control messages (gloo): ")


def with_a_wrong_clock() -> list[str]:
    world = join()
    spoken: list[str] = []
    console.warn = spoken.append
    if world.rank == 1:
        machine_facts.time.time = lambda: time.monotonic() * 0 + 5.0
    preflight(world, settings())
    return spoken


def test_a_wrong_clock_is_a_warning_that_names_its_machine(run_processes: Callable) -> None:
    for spoken in run_processes(2, with_a_wrong_clock):
        assert any(line.startswith("the clock of machine 1 (beta) is -") for line in spoken)


# Cost


def cost(data: Path, weights: Path) -> float:
    world = World.start("cpu")
    console.quiet()
    config = TrainConfig(data=str(data), weights=str(weights), batch=16, device="cpu")
    spec = load_data_spec(data)
    index = build_index(spec, "train", single_cls=False, bad_data="fail", workers=2)
    world.barrier()
    start_s = time.perf_counter()
    preflight(world, config)
    compare_data(world, DataUnion((spec,), spec.names), {"train": index, "val": index})
    world.barrier()
    return time.perf_counter() - start_s


def test_it_costs_less_than_two_seconds_on_coco128_with_four_processes(
    run_processes: Callable, coco128: Path, published_weights: Path
) -> None:
    cores = len(os.sched_getaffinity(0))
    limit_s = 2.0 * max(1.0, os.getloadavg()[0] / cores)  # other programs on this machine are not ours to blame
    assert max(run_processes(4, cost, coco128, published_weights)) < limit_s
