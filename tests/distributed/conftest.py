"""What several files compare interrupted runs with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stops import Ended, grain_config, trained


@pytest.fixture(scope="session")
def whole(
    run_processes: Callable[..., list[Any]], sparse_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Ended:
    """The run that nothing interrupts."""
    (ended,) = run_processes(1, trained, grain_config(sparse_data, tmp_path_factory.mktemp("whole")))
    return ended
