"""`--bit-exact`: the same bits for any number of processes and any chain of interruptions."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import interrupted_run, tiny_config

from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.engine.resuming import find_resumed
from accel_yolo.engine.train import train
from accel_yolo.engine.world import World
from accel_yolo.errors import UserError

Run = Callable[..., list[Any]]


def exact_config(data: Path, project: Path, **changes: Any) -> TrainConfig:
    """Return a bit-exact training of 24 images a step in micro-batches of two, everything that varies turned on."""
    hyp = Hyp(mosaic=1.0, fliplr=0.5, warmup_epochs=1, lr0=0.01)
    exact = {"batch": 24, "nominal_batch": 24, "micro_batch": 2, "bn_group": 2, "bit_exact": True, "epochs": 3}
    return tiny_config(data, project, hyp=hyp, **{**exact, **changes})


def finished_run(config: TrainConfig) -> dict[str, Any]:
    """Train, and return the digest of the state, the metrics and the table of results."""
    state = train(config, {})
    folder = Path(config.project) / config.name
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics.pop("speed_ms")
    rows = list(csv.reader((folder / "results.csv").read_text().splitlines()))[1:]
    return {"digest": metrics.pop("state_sha256", ""), "metrics": metrics, "rows": rows, "updates": state.updates}


@pytest.fixture(scope="module")
def alone(run_processes: Run, sparse_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One process, three epochs."""
    (result,) = run_processes(1, finished_run, exact_config(sparse_data, tmp_path_factory.mktemp("alone")))
    return result


def test_the_run_that_others_are_compared_with_learns_from_numbers(alone: dict[str, Any]) -> None:
    # Runs full of NaN would agree as well.
    losses = [[float(value) for value in row[1:4]] for row in alone["rows"]]
    assert alone["updates"] == 6
    assert all(math.isfinite(value) for row in losses for value in row)
    assert losses[0] != losses[2]


@pytest.mark.parametrize("size", [2, 3, pytest.param(4, marks=pytest.mark.slow)])
def test_any_number_of_processes_gives_the_same_bits(
    run_processes: Run, sparse_data: Path, tmp_path: Path, alone: dict[str, Any], size: int
) -> None:
    for result in run_processes(size, finished_run, exact_config(sparse_data, tmp_path)):
        assert result == alone


def test_a_run_that_changes_the_number_of_processes_on_the_way_gives_the_same_bits(
    run_processes: Run, sparse_data: Path, tmp_path: Path, alone: dict[str, Any]
) -> None:
    config = exact_config(sparse_data, tmp_path)
    resumed = replace(config, resume=str(tmp_path / "exp"))
    run_processes(4, interrupted_run, config, 1)
    run_processes(1, interrupted_run, resumed, 2)
    result = run_processes(2, finished_run, resumed)[0]
    assert {**result, "updates": alone["updates"]} == alone


def refused(config: TrainConfig) -> str:
    with pytest.raises(UserError) as caught:  # on two of them, the error of another process
        train(config, {})
    return str(caught.value)


def test_more_processes_than_micro_batches_are_refused_before_the_run_has_a_folder(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    config = exact_config(sparse_data, tmp_path / "runs", batch=4, nominal_batch=4)
    for line in run_processes(3, refused, config):
        assert "fewer groups of 2 images in a batch than the 3 processes" in line
        assert "of a bit-exact run --micro-batch" in line
    assert not (tmp_path / "runs").exists()


def where_things_lie(config: TrainConfig, elsewhere: dict[str, Any]) -> tuple[str, int, int]:
    """Return data, workers and epochs of a resumed run on a process that typed where its own things lie."""
    world = World.connect("cpu")
    typed = elsewhere if world.rank == 1 else {}
    asked = replace(config, **typed, resume=str(Path(config.project) / config.name))
    _, found, _ = find_resumed(asked, dict.fromkeys(typed, "command line"), world)
    return found.data, found.workers, found.epochs


def test_a_resumed_run_finds_the_data_of_each_machine_where_its_command_line_says(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    config = exact_config(sparse_data, tmp_path, epochs=1)
    run_processes(1, finished_run, config)
    found = run_processes(2, where_things_lie, config, {"data": ("elsewhere.yaml",), "workers": 3, "epochs": 9})
    assert found == [((str(sparse_data),), 0, 1), (("elsewhere.yaml",), 3, 1)], "the recipe is that of machine 0"


@pytest.mark.slow
def test_the_default_mode_does_not_pass_this_test(
    run_processes: Run, sparse_data: Path, tmp_path: Path, alone: dict[str, Any]
) -> None:
    rows = []
    for size in (1, 2):
        config = exact_config(sparse_data, tmp_path / str(size), bit_exact=False)
        rows.append(run_processes(size, weights_after, config)[0])
    assert rows[0] != rows[1]


def weights_after(config: TrainConfig) -> list[float]:
    from accel_yolo.models.weights import load_weights

    train(config, {})
    state = load_weights(Path(config.project) / config.name / "weights" / "last.safetensors").state
    return [float(value.double().sum()) for value in state.values() if value.is_floating_point()]


def ordered_sum() -> torch.Tensor:
    world = World.start("cpu")
    rows = torch.randn(12, 1000, generator=torch.Generator().manual_seed(1)) * 1000
    mine = rows[world.rank * 12 // world.size : (world.rank + 1) * 12 // world.size]
    return world.sum_in_order(list(mine), torch.ones(1000)).numpy()


def test_a_sum_in_order_adds_from_the_first_row_to_the_last_whoever_holds_them(run_processes: Run) -> None:
    rows = torch.randn(12, 1000, generator=torch.Generator().manual_seed(1)) * 1000
    expected = torch.ones(1000)
    for row in rows:
        expected = expected + row
    assert not torch.equal(expected, torch.ones(1000) + rows.flip(0).cumsum(0)[-1]), "the order must matter here"
    for size in (1, 2, 4):
        for total in run_processes(size, ordered_sum):
            assert torch.equal(torch.from_numpy(total), expected)
