"""The loss and its gradients equal the recorded ones of the reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from accel_yolo.losses.assignment import assign, entry_counts
from accel_yolo.losses.detection import LossOptions, detection_sums, term_means

CASES = json.loads((Path(__file__).parents[2] / "reference" / "loss_cases.json").read_text())


def _options(case: dict, levels: int) -> LossOptions:
    hyp = {k: v for k, v in case["hyp"].items() if k != "anchor_t"}
    return LossOptions(**hyp, nc=case["nc"], levels=levels)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_losses_and_gradients_equal_the_recorded_ones(case: dict, recorded: Callable[[str], Path]) -> None:
    data = np.load(recorded("loss.npz"))
    name = case["name"]
    strides = data[f"{name}/strides"]
    levels = len(strides)
    raws = [torch.from_numpy(data[f"{name}/pred{level}"]).requires_grad_() for level in range(levels)]
    anchors = data[f"{name}/anchors_px"].reshape(levels, -1, 2) / strides.reshape(-1, 1, 1)
    grids = [tuple(raw.shape[2:4]) for raw in raws]
    entries = assign(data[f"{name}/targets"], anchors.astype(np.float32), grids, case["hyp"]["anchor_t"])
    assert entry_counts(entries) == case["matches_per_level"]

    options = _options(case, levels)
    sums = detection_sums(raws, entries, options)
    counts = torch.tensor(entry_counts(entries), dtype=torch.float32)
    cells = torch.tensor([raw[..., 0].numel() for raw in raws], dtype=torch.float32)
    terms = term_means(sums, counts, cells, options)
    total = terms.sum() * case["batch"]
    total.backward()

    np.testing.assert_allclose(terms.detach().numpy(), data[f"{name}/box_obj_cls"].ravel(), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(total.item(), data[f"{name}/total"].item(), rtol=1e-5)
    for level, raw in enumerate(raws):
        expected = data[f"{name}/grad{level}"]
        assert raw.grad is not None
        error = np.linalg.norm(raw.grad.numpy() - expected) / max(np.linalg.norm(expected), 1e-12)
        assert error < 1e-5
