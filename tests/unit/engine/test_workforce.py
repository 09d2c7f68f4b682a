"""The processes of a start: told, ended, and nothing left of them or of their helpers."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from accel_yolo.engine.workforce import Workforce

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


def until(holds: Callable[[], object]) -> None:
    end_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.02)


def state_of(pid: int) -> str:
    """Return the letter of the state of a process, "" when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def test_exit_statuses_are_those_of_processes_that_have_ended_by_themselves() -> None:
    program = "import os, signal, sys; os.kill(os.getpid(), signal.SIGKILL) if os.environ['N'] == '9' else sys.exit(3)"
    force = Workforce(["-c", program], {0: {"N": "3"}, 1: {"N": "9"}})
    until(lambda: not force.running())
    force.end(0)
    assert force.exit_codes == {0: 3, 1: -signal.SIGKILL}


def test_the_number_of_a_group_is_nobody_elses_until_the_group_is_ended(tmp_path: Path) -> None:
    """A process that has ended is not buried before its helpers are killed: its number could be used again."""
    helper = tmp_path / "helper"
    program = (
        "import os, sys, time, pathlib\n"
        "pid = os.fork()\n"
        "if pid:\n"
        "    pathlib.Path(sys.argv[1]).write_text(str(pid)); os._exit(0)\n"
        "time.sleep(600)"
    )
    force = Workforce(["-c", program, str(helper)], {0: {}})
    until(lambda: not force.running())
    force.tell(signal.SIGTERM)
    assert state_of(force.pid(0)) == "Z"
    pid = int(helper.read_text())
    assert os.getpgid(pid) == force.pid(0) and state_of(pid) in "RS"
    force.end(0)
    assert force.exit_codes == {0: 0} and state_of(force.pid(0)) == ""
    until(lambda: state_of(pid) in ("", "Z"))
