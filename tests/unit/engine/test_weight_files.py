"""What could not be written into a weight file is owed: kept with its numbers, and written with the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from accel_yolo import waypoints
from accel_yolo.engine.weight_files import WeightFiles
from accel_yolo.errors import EnvironmentFault


class Meta:
    def to_json(self) -> str:
        return "{}"


def test_what_could_not_be_written_keeps_its_numbers_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta: Any = Meta()
    files, entries = WeightFiles(tmp_path, meta), {"a": torch.ones(3)}

    def held(name: str) -> float:
        return float(load_file(tmp_path / f"{name}.safetensors")["a"][0])

    monkeypatch.setenv(
        waypoints.FAIL, "save weights last:*:*:eio,save weights best:*:*:enospc,save weights best:*:*:eio"
    )
    waypoints.begin(0)
    with pytest.raises(EnvironmentFault) as caught:
        files.write(["last", "best", "epoch0"], entries)
    assert f"cannot write in {tmp_path / 'last.safetensors'}: Input/output error; check the disk" in str(caught.value)
    assert held("epoch0") == 1, "one that fails does not keep the others back"
    entries["a"] += 1  # the memory is used again
    with pytest.raises(EnvironmentFault, match="Input/output error"):
        files.write(["last"], entries)
    assert held("last") == 2
    files.write()
    assert held("best") == 1
    (tmp_path / "best.safetensors").unlink()
    files.write()
    assert not (tmp_path / "best.safetensors").exists(), "nothing is owed any more"
