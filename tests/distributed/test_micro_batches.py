"""`--micro-batch` splits the share of a process in time; the gradient stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs import BATCH, tiny_config, watched_training

from accel_yolo.data.order import micro_batches, share
from accel_yolo.errors import ConfigError

Run = Callable[..., list[Any]]


def test_micro_batches_cover_a_share_once_and_keep_groups_together() -> None:
    for batch in range(1, 40):
        for world in range(1, 5):
            for group in (1, 2, 4):
                if batch % group or batch // group < world:
                    continue
                for most in (0, group, 2 * group, 3 * group):
                    for rank in range(world):
                        places = share(batch, rank, world, group)
                        parts = micro_batches(places, most, group)
                        assert [place for part in parts for place in part] == list(places)
                        assert all(len(part) % group == 0 and len(part) > 0 for part in parts)
                        assert not most or max(map(len, parts)) <= most


@pytest.mark.parametrize(
    ("size", "micro", "kind"),
    [(1, 4, "frozen"), (2, 2, "grouped")]
    + [
        pytest.param(*case, marks=pytest.mark.slow)
        for case in ((1, 2, "grouped"), (1, 2, "frozen"), (1, 4, "grouped"), (2, 2, "frozen"))
    ],
)
def test_the_gradient_is_that_of_the_whole_batch(
    run_processes: Run, sparse_data: Path, tmp_path: Path, kind: str, size: int, micro: int
) -> None:
    settings = {"bn_group": 2} if kind == "grouped" else {}
    frozen = kind == "frozen"
    whole = tiny_config(sparse_data, tmp_path / "whole", noval=True, **settings)
    split = tiny_config(sparse_data, tmp_path / "split", noval=True, micro_batch=micro, **settings)
    (expected,) = run_processes(1, watched_training, whole, True, frozen)
    for seen in run_processes(size, watched_training, split, True, frozen):
        for name, gradient in expected["gradients"].items():
            assert np.linalg.norm(gradient - seen["gradients"][name]) <= 1e-10 * np.linalg.norm(gradient)
        for name, value in expected["weights"].items():  # running statistics too: one step for each batch
            exact = value.astype(np.float64)
            assert np.linalg.norm(exact - seen["weights"][name]) <= 1e-8 * max(np.linalg.norm(exact), 1e-12)


def test_with_synchronised_batchnorm_the_processes_meet_in_every_forward_pass(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    # Seven images on two processes are three and four: both need two forward passes.
    config = tiny_config(sparse_data, tmp_path, noval=True, batch=7, micro_batch=2, sync_bn=True)
    first, second = run_processes(2, watched_training, config, False)
    assert first["ema"] and first["ema"] == second["ema"]


def refused(config: Any) -> str:
    from accel_yolo.engine.dealing import dealt_out
    from accel_yolo.engine.world import World

    with pytest.raises(ConfigError) as caught:
        dealt_out(config, World.start("cpu"))
    return str(caught.value)


def test_synchronised_batchnorm_with_shares_that_cannot_meet_is_refused(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    config = tiny_config(sparse_data, tmp_path, batch=BATCH - 1, micro_batch=1, sync_bn=True)
    for message in run_processes(2, refused, config):
        assert "micro-batches of unequal number with --sync-bn" in message


def told(config: Any) -> tuple[list[str], list[str]]:
    """Return the lines and the remarks of a training on this process."""
    from accel_yolo import console
    from accel_yolo.engine.train import train

    lines: list[str] = []
    notes: list[str] = []
    console.say, console.note = lines.append, notes.append
    train(config, {})
    return lines, [note for note in notes if "BatchNorm" in note]


def test_how_the_batch_is_shared_is_said_and_a_small_share_is_remarked(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    config = tiny_config(sparse_data, tmp_path / "local", noval=True, batch=7, nominal_batch=14, micro_batch=2)
    lines, notes = run_processes(2, told, config)[0]
    assert "Batch of 7 images over 2 processes, 3 to 4 each, 1 to 2 per forward pass; 14 images per update" in lines
    assert "BatchNorm over 1 to 2 images (each process's own)" in lines
    assert notes == [
        "BatchNorm over 1 to 2 images (each process's own): fewer than 16 can cost accuracy; "
        "--sync-bn makes it see all processes"
    ]


@pytest.mark.parametrize("settings", [{"sync_bn": True}, pytest.param({"bn_group": 2}, marks=pytest.mark.slow)])
def test_who_has_chosen_a_batchnorm_over_processes_gets_no_remark(
    run_processes: Run, sparse_data: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    lines, notes = run_processes(2, told, tiny_config(sparse_data, tmp_path, noval=True, **settings))[0]
    assert notes == []
    kind = "all 2 processes, 4 images of each" if "sync_bn" in settings else "groups of 2 images"
    assert f"BatchNorm over {kind}" in lines
