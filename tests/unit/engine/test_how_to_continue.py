"""What a stopped run says about how it goes on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.saving import how_to_continue
from accel_yolo.shell import program


@pytest.mark.parametrize(
    ("launcher", "machines", "changes", "expected"),
    [
        ("", 1, {}, "continue with: PROGRAM train --resume 'RUN'"),
        ("", 1, {"device": "cpu"}, "continue with: PROGRAM train --resume 'RUN' --device cpu"),
        ("accel-yolo", 1, {"device": "cpu"}, "continue with: PROGRAM train --resume 'RUN' --device cpu --processes 4"),
        ("accel-yolo", 1, {"device": "0,1"}, "continue with: PROGRAM train --resume 'RUN' --device 0,1"),
        (
            "",
            1,
            {"augment_with": "my_own:change"},
            "continue with: PROGRAM train --resume 'RUN' --augment-with my_own:change",
        ),
        ("accel-yolo", 2, {}, "start it as before, with --resume RUN"),
        ("torchrun", 1, {}, "start it as before, with --resume RUN"),
        ("accelerate", 1, {}, "start it as before, with --resume RUN"),
        ("slurm", 2, {}, "start it as before, with --resume RUN"),
    ],
)
def test_the_command_is_whole_where_this_program_starts_all_processes(
    tmp_path: Path, launcher: str, machines: int, changes: dict[str, Any], expected: str
) -> None:
    run: Any = SimpleNamespace(path=tmp_path / "a run")
    (run.path / "checkpoints" / "step-00000001").mkdir(parents=True)
    world: Any = SimpleNamespace(launcher=launcher, machines=machines, size=4)
    said = how_to_continue(run, TrainConfig(**changes), world)
    assert said == expected.replace("PROGRAM", program()).replace("RUN", str(run.path))
