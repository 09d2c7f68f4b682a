"""Weights that become different on one process: found, and named with the process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jobs import tiny_config
from stops import grain_config, resumed, trained
from torch import Tensor, nn

from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine import resuming
from accel_yolo.engine.divergence import digests
from accel_yolo.engine.ema import Ema
from accel_yolo.engine.optim import optimizer_tensors
from accel_yolo.engine.train import train
from accel_yolo.engine.world import World
from accel_yolo.errors import PeerError

Run = Callable[..., list[Any]]


def flip_bit(tensor: Tensor, place: int, bit: int) -> None:
    """Change one bit of a tensor in its memory."""
    words = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    words[place * tensor.element_size() + bit // 8] ^= 1 << (bit % 8)
    tensor.detach().copy_(words.view(tensor.dtype).reshape(tensor.shape))


def test_any_single_bit_changes_the_digest() -> None:
    rng = np.random.default_rng(0)
    for dtype in (torch.float32, torch.float16, torch.float64, torch.int64, torch.uint8):
        tensor = torch.from_numpy(rng.integers(0, 100, 37)).to(dtype).reshape(37, 1)
        before = digests([tensor])
        for bit in range(8 * tensor.element_size()):
            place = int(rng.integers(37))
            flip_bit(tensor, place, bit)
            assert digests([tensor]) != before, (dtype, bit, place)
            flip_bit(tensor, place, bit)
        assert digests([tensor]) == before


def test_a_digest_tells_places_from_each_other_and_not_how_a_tensor_lies_in_memory() -> None:
    image = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert digests([image]) == digests([image.to(memory_format=torch.channels_last)])
    assert digests([image]) != digests([image.flip(3)])


def training_with_a_flip(config: TrainConfig, who: int, part: str) -> str:
    """Train, have one bit change on one process after the second update, and return what the run says."""
    import accel_yolo.engine.progress as progress

    progress.COMPARE_EVERY = 1
    original, updates = Ema.update, []

    def update(ema: Ema, detector: Any, **options: Any) -> None:
        original(ema, detector, **options)
        updates.append(1)
        if len(updates) == 2 and torch.distributed.get_rank() == who:
            module = {"average": ema.detector}.get(part, detector)
            state = module.state_dict() if part != "optimizer" else optimizer_tensors(detector, optimizers[0])
            flip_bit(next(value for name, value in state.items() if (part == "statistic") == ("running" in name)), 3, 2)

    apply, optimizers = World.apply, []

    def kept_apply(world: World, optimizer: Any, norm: Tensor) -> Any:
        optimizers.append(optimizer)
        return apply(world, optimizer, norm)

    Ema.update, World.apply = update, kept_apply  # pyright: ignore
    try:
        train(config, {})
    except PeerError as error:
        return f"{error} [{error.exit_code}{' silent' if error.already_reported else ''}]"
    return "nothing"


def test_a_changed_bit_of_a_weight_is_found_and_its_process_named(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    lines = run_processes(3, training_with_a_flip, tiny_config(sparse_data, tmp_path, noval=True), 1, "weight")
    first, *others = lines
    assert first.startswith("the weights of process 1 of machine 0 (")
    assert ") differ from those of the others at step 2, and did not at step 1: weight model.0.conv.weight; " in first
    assert "go on from a checkpoint before that with --resume" in first
    assert "have the memory of that machine checked [5]" in first
    assert others == [first.replace("[5]", "[5 silent]")] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("average", "average of model.0.conv.weight"),
        ("statistic", "statistic model.0.bn.running_mean"),
        ("optimizer", "optimizer state model.0.conv.weight/momentum_buffer"),
    ],
)
def test_averages_running_statistics_and_optimizer_are_compared_too(
    run_processes: Run, sparse_data: Path, tmp_path: Path, part: str, named: str
) -> None:
    lines = run_processes(2, training_with_a_flip, tiny_config(sparse_data, tmp_path, noval=True), 0, part)
    # Of two, neither is outvoted.
    assert "the weights of process 1 of machine 0 (" in lines[0]
    assert ") differ from those of process 0 of machine 0 (" in lines[0]
    assert f") at step 2, and did not at step 1: {named}; " in lines[0]


def test_what_was_loaded_is_compared_before_training_goes_on(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    (stopped,) = run_processes(1, trained, grain_config(sparse_data, tmp_path), "update:0:1:term")
    assert stopped.saved == ("step-00000004",)
    lines = run_processes(2, resumed_with_a_flip, tmp_path / "exp")
    assert "the weights of process 1 of machine 0 (" in lines[0] and " at step 4: weight " in lines[0]


def resumed_with_a_flip(run: Path) -> str:
    original = resuming.restore_optimizer

    def restore(detector: nn.Module, *arguments: Any) -> None:
        original(detector, *arguments)
        if torch.distributed.get_rank() == 1:
            flip_bit(next(detector.parameters()), 3, 2)

    resuming.restore_optimizer = restore  # pyright: ignore
    return trained(resumed(run)).line


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"nominal_batch": 32},
        {"sync_bn": True},
        {"bn_group": 2},
        {"bn_group": 2, "micro_batch": 2, "bit_exact": True},
    ],
    ids=lambda changes: " ".join(changes) or "default",
)
def test_processes_that_are_well_stay_equal_at_every_step(
    run_processes: Run, sparse_data: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = tiny_config(sparse_data, tmp_path, noval=True, **{"batch": 8, **changes})
    assert run_processes(2, training_with_a_flip, config, -1, "weight") == ["nothing"] * 2
