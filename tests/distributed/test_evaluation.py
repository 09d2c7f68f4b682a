"""Metrics do not depend on how many processes evaluate, to the last digit; nor on the batch size, but for rounding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accel_yolo import console
from accel_yolo.config.val_schema import ValConfig
from accel_yolo.data.eval_loader import eval_batches, eval_hw, eval_shapes
from accel_yolo.engine.validate import validate

NUMBERS = ("precision", "recall", "map50", "map50_95")


def metrics_of(config: ValConfig) -> dict[str, Any]:
    console.quiet()
    return validate(config)


def without_speed(metrics: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metrics.items() if key != "speed_ms"}


@pytest.fixture(scope="module")
def evaluated(
    run_processes: Callable, coco128: Path, published_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int, int], list]:
    """Return a function from (processes, batch) to the metrics every process holds, each evaluated once, at 320 px."""
    done: dict[tuple[int, int], list] = {}

    def run(processes: int, batch: int) -> list:
        if (processes, batch) not in done:
            folder = str(tmp_path_factory.mktemp("val"))
            config = ValConfig(
                data=str(coco128), weights=(str(published_weights),), imgsz=320, batch=batch, device="cpu",
                workers=0, project=folder, noplots=True,
            )  # fmt: skip
            done[processes, batch] = run_processes(processes, metrics_of, config)
        return done[processes, batch]

    return run


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_metrics_are_identical_for_any_number_of_processes(evaluated: Callable, processes: int) -> None:
    alone = without_speed(evaluated(1, 32)[0])
    assert alone["map50"] == pytest.approx(0.449, abs=2e-3)
    for metrics in evaluated(processes, 32):
        assert without_speed(metrics) == alone


@pytest.mark.parametrize("batch", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_metrics_do_not_depend_on_the_batch_size(evaluated: Callable, batch: int) -> None:
    usual, other = evaluated(1, 32)[0], evaluated(1, batch)[0]
    assert other["map50"] == pytest.approx(usual["map50"], abs=1e-4)
    assert other["map50_95"] == pytest.approx(usual["map50_95"], abs=1e-4)
    # Precision and recall sit at an argmax.
    assert other["precision"] == pytest.approx(usual["precision"], abs=5e-3)
    assert other["recall"] == pytest.approx(usual["recall"], abs=5e-3)


def test_the_shape_of_an_image_depends_on_that_image_alone() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(50, 800, (200, 2))
    for batch in (1, 7, 32):
        batches = eval_batches(eval_shapes(sizes, 320, 32), batch)
        assert sorted(image for members in batches for image in members) == list(range(200))
        for members in batches:
            assert len({eval_hw(tuple(sizes[image].tolist()), 320, 32) for image in members}) == 1
