"""An image that one process of several cannot read: that one names it, the others end as fast and blame nobody else."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs import tiny_config

from accel_yolo import console
from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.batches import Batches
from accel_yolo.engine.train import train
from accel_yolo.errors import UserError


def training_that_loses_an_image(config: TrainConfig) -> tuple[str, float]:
    """Train until an image has vanished that process 1 needs in the second epoch; return the error and its time."""
    console.quiet()
    original = Batches.steps

    def steps(batches: Batches, state: Any) -> Any:
        if state.epoch == 1 and batches.world.rank == 1:
            Path(next(iter(batches.loader.contents(1, 2)))).unlink()
        return original(batches, state)

    Batches.steps = steps  # pyright: ignore
    try:
        train(config, {})
    except UserError as error:
        return f"{error} [{error.exit_code}]", time.time()
    return "nothing", time.time()


def test_an_image_that_vanishes_stops_all_processes_and_is_named(
    run_processes: Callable[..., list[Any]], tmp_path: Path, sparse_data: Path
) -> None:
    import shutil

    root = tmp_path / "data"
    shutil.copytree(sparse_data.parent, root)
    data = root / "data.yaml"
    data.write_text(data.read_text().replace(str(sparse_data.parent), str(root)))
    config = tiny_config(data, tmp_path / "runs", epochs=3, noval=True, nosave=True)
    (other, other_ended), (line, ended) = run_processes(2, training_that_loses_an_image, config)
    assert line.startswith(f"the image cannot be read in {root}/images/train/")
    assert ".png: No such file or directory, tried 4 times; it was there when the data set was verified: " in line
    assert line.endswith("put it back, and a training goes on with --resume [3]")
    assert other.startswith("process 1 on machine 0 (") and other.endswith("[5]")
    assert f") failed: the image cannot be read in {root}/images/train/" in other, "it repeats what that one said"
    assert other_ended - ended < 3
