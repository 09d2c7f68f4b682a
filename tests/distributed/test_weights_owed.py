"""A weight file that cannot be written at its time is written later, with the numbers of its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stops import Ended, grain_config, trained

from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.state import TrainState
from accel_yolo.files import sha256_file

FITNESS = (0.9, 0.5, 0.4)
FAULTS = {
    "none": "",
    "the file before it fails": "save weights last:0:*:enospc",
    "it fails": "save weights best:0:*:enospc",
    "it fails twice": "save weights best:0:*:enospc,save weights best:0:*:eio",
    "it takes long": "save weights last:0:*:2",
}


def trained_with_faults(config: TrainConfig) -> dict[str, tuple[Ended, str]]:
    """Train with each fault; the first epoch is the best. Return how that ended, and the digest of the best weights."""
    original = TrainState.after_epoch

    def after_epoch(self: TrainState, epoch_fitness: float | None, patience: int) -> TrainState:
        return original(self, FITNESS[self.epoch], patience)

    TrainState.after_epoch = after_epoch
    found = {}
    for name, fault in FAULTS.items():
        named = replace(config, name=name)
        ended = trained(named, fault)
        found[name] = ended, sha256_file(Path(config.project) / name / "weights" / "best.safetensors")
    return found


@pytest.mark.slow
def test_the_best_weights_are_those_of_the_best_epoch_whatever_fails_when_they_are_written(
    run_processes: Callable[..., list[Any]], sparse_data: Path, tmp_path: Path
) -> None:
    config = grain_config(sparse_data, tmp_path, save_every="3epochs")  # so that nothing else waits for the disk
    (found,) = run_processes(1, trained_with_faults, config)
    for name, (ended, digest) in found.items():
        assert ended.code == 0, name
        assert digest == found["none"][1], name
        log = (tmp_path / name / "log.txt").read_text()
        assert log.count("training goes on and saves again later") == FAULTS[name].count(":e"), name
