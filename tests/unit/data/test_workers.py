"""How many data workers a process has."""

from __future__ import annotations

from accel_yolo.data.workers import default_workers


def test_the_number_of_workers_is_bounded_by_cores_and_images() -> None:
    assert default_workers(8, batch=16, cpus=4, processes=2) == 2
    assert default_workers(8, batch=2, cpus=64, processes=1) == 2
    assert default_workers(8, batch=1, cpus=64, processes=1) == 0
    assert default_workers(1, batch=16, cpus=4, processes=8) == 1
