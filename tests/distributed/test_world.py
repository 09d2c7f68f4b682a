"""What crosses process borders, with real processes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from accel_yolo.engine.batchnorm import CrossProcessBatchNorm2d, GroupedBatchNorm2d, convert_batchnorm
from accel_yolo.engine.world import World
from accel_yolo.errors import DataError, StoppedByPeer

SHARES = ((0, 3), (3, 5), (5, 10))
"""Uneven shares of ten images on three processes."""


def exchange() -> dict[str, Any]:
    world = World.start("cpu")
    rows = world.gather_rows(np.full((world.rank, 2), float(world.rank)))
    texts = world.gather_text(f"Prozeß {world.rank} \U0001f600" if world.rank != 1 else "")
    total = world.sum(torch.tensor([world.rank, 10]))
    return {"rows": rows.tolist(), "texts": texts, "total": total.tolist(), "leads": world.is_leader}


def test_rows_texts_and_sums_reach_every_process(run_processes: Callable) -> None:
    results = run_processes(3, exchange)
    for result in results:
        assert result["rows"] == [[1.0, 1.0], [2.0, 2.0], [2.0, 2.0]]
        assert result["texts"] == ["Prozeß 0 \U0001f600", "", "Prozeß 2 \U0001f600"]
        assert result["total"] == [3, 30]
    assert [result["leads"] for result in results] == [True, False, False]


def failing(who: int) -> tuple[str, str, int]:
    world = World.start("cpu")
    try:
        with world.together():
            if world.rank == who:
                raise DataError("truncated image", "images/7.jpg", remedy="copy it again")
    except (DataError, StoppedByPeer) as error:
        return type(error).__name__, str(error), error.exit_code
    return "nothing", "", 0


def test_an_error_of_one_process_stops_all_and_is_spoken_by_that_one(run_processes: Callable) -> None:
    results = run_processes(3, failing, 1)
    assert [name for name, _, _ in results] == ["StoppedByPeer", "DataError", "StoppedByPeer"]
    assert {line for _, line, _ in results} == {"truncated image in images/7.jpg; copy it again"}
    assert {code for _, _, code in results} == {DataError.exit_code}


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.03), nn.SiLU(), nn.Conv2d(4, 2, 1))
    if kind == "synchronised":
        convert_batchnorm(model, sync=True, group=0, world_size=3)
    if kind == "grouped":
        convert_batchnorm(model, sync=False, group=1, world_size=3)
    return model


def images() -> torch.Tensor:
    return torch.randn(10, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 5


def one_pass(kind: str) -> dict[str, np.ndarray]:
    world = World.start("cpu")
    model = network(kind)
    start, stop = SHARES[world.rank]
    model(images()[start:stop]).square().sum().backward()
    world.average_buffers(model, stop - start)
    gradients = {}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.distributed.all_reduce(parameter.grad)
        gradients[name] = parameter.grad.numpy()
    return {**gradients, **{name: buffer.numpy() for name, buffer in model.named_buffers()}}


@pytest.mark.parametrize("kind", ["synchronised", "grouped"])
def test_batchnorm_over_processes_equals_one_process_with_the_whole_batch(run_processes: Callable, kind: str) -> None:
    alone = network("plain" if kind == "synchronised" else "grouped")
    alone(images()).square().sum().backward()
    torch.set_default_dtype(torch.float32)
    for result in run_processes(3, one_pass, kind):
        for name, parameter in alone.named_parameters():
            assert parameter.grad is not None
            np.testing.assert_allclose(result[name], parameter.grad.numpy(), rtol=1e-9, atol=1e-9)
        for name, buffer in alone.named_buffers():
            np.testing.assert_allclose(result[name], buffer.numpy(), rtol=1e-10)


def test_a_group_is_normalised_by_its_own_images_only() -> None:
    layer = GroupedBatchNorm2d(3, 2).train()
    plain = nn.BatchNorm2d(3).train()
    batch = torch.randn(6, 3, 4, 4)
    together = layer(batch)
    for start in (0, 2, 4):
        torch.testing.assert_close(together[start : start + 2], plain(batch[start : start + 2]))
    with pytest.raises(ValueError, match="5 images do not divide into groups of 2"):
        layer(batch[:5])


def test_converting_keeps_state_dict_parameters_and_constants() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=1e-3, momentum=0.03))
    before, parameters = copy.deepcopy(model.state_dict()), [id(parameter) for parameter in model.parameters()]
    convert_batchnorm(model, sync=True, group=0, world_size=2)
    layer = model[1]
    assert isinstance(layer, CrossProcessBatchNorm2d)
    assert (layer.eps, layer.momentum) == (1e-3, 0.03)
    assert list(model.state_dict()) == list(before)
    assert [id(parameter) for parameter in model.parameters()] == parameters
