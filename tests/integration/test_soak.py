"""Random faults for about five minutes, with the end of the last run: each ends as the one that nobody disturbed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from namespaces import require_namespaces

ROOT = Path(__file__).resolve().parents[2]
MINUTES, SEED = 3.5, 2026


@pytest.mark.slow
@pytest.mark.alone
def test_runs_survive_what_comes() -> None:
    require_namespaces()
    variables = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "soak", "--minutes", str(MINUTES), "--seed", str(SEED)]
    done = subprocess.run(words, capture_output=True, text=True, env=variables, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " faults in " in done.stdout
