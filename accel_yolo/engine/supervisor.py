"""What our launcher does between the first and the last word: starts, signals, endings, and starts again."""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accel_yolo import console
from accel_yolo.config.launching import LaunchPlan
from accel_yolo.engine import run_lock
from accel_yolo.engine.endings import (
    FINISHED,
    ORDERLY,
    STOPPED,
    TOLD,
    Ending,
    ending_of,
    failure_of_launcher,
    gravest,
    has_left_early,
)
from accel_yolo.engine.failures import BEGUN, RUN
from accel_yolo.engine.host import Host
from accel_yolo.engine.launched import LAUNCH_DIR, LAUNCHER
from accel_yolo.engine.meeting import ANSWER_S, END, GO, OVER, RUNNING, Guests, Order
from accel_yolo.engine.restarts import Restarts
from accel_yolo.engine.signals import Signals
from accel_yolo.engine.stopping import NoMorePatience, Stop, now
from accel_yolo.engine.workforce import LAST_WORDS_S, PAUSE_S, Workforce
from accel_yolo.errors import UserError

HERE = "127.0.0.1"
TOGETHER_S = 6.0
"""How long the others may take when one process has ended in order."""

_EVIDENCE = getattr(signal, "SIGUSR2", None)


class Supervisor:
    """The launcher of one machine.

    Args:
        plan: what to start, settled.
        arguments: of Python, for each process.
        folder: where the processes leave word; each start has a folder of its own in it.
        store: the store of machine 0, which this process serves; None on other machines.
        signals: those that come.
    """

    def __init__(self, plan: LaunchPlan, arguments: Sequence[str], folder: Path, store: Any, signals: Signals) -> None:
        self._plan, self._arguments, self._folder, self._stop = plan, list(arguments), folder, Stop(signals)
        self._port = store.port if store is not None else plan.main_process_port
        self._guests = Guests(plan, store) if store is not None and plan.machines > 1 else None
        self._host = Host(plan) if store is None else None
        self._id = f"{plan.main_process_ip}:{self._port}" if plan.machines > 1 else uuid.uuid4().hex
        self._restarts = Restarts(plan.max_restarts, has_run=self._arguments[2:3] == ["train"])
        self._known: Ending | None = None  # of the last start, if it failed

    def run(self) -> Ending:
        """Start the processes, again where that is wished and can help, and return how the run ended.

        Raises:
            PeerError: the machines did not meet.
        """
        try:
            return self._follow(self._host) if self._host is not None else self._lead()
        except NoMorePatience:
            ending = self._known or self._stop.ending()
            self._tell(ending)
            return ending
        except UserError as error:
            self._tell(Ending(TOLD, error.exit_code, failure_of_launcher(str(error), error.exit_code)))
            raise

    @property
    def run_folder(self) -> Path | None:
        """The folder of the run, None while the processes have not said it."""
        told = sorted(self._folder.glob(f"start-*/{RUN}"), key=lambda path: path.stat().st_mtime_ns)
        return Path(told[-1].read_text(encoding="utf-8")) if told else None

    @property
    def _has_begun(self) -> bool:
        return any(self._folder.glob(f"start-*/{BEGUN}"))

    def _tell(self, ending: Ending) -> None:
        """Tell the other machines that this one goes, and why."""
        if self._guests is not None:
            self._guests.dismiss(ending)
        if self._host is not None:
            self._host.leave(ending)

    def _lead(self) -> Ending:
        """Decide for all machines; this is machine 0."""
        start, more = 0, tuple[str, ...]()
        while True:
            self._stop.look()
            left = self._guests.meet(start, self._stop.look) if self._guests is not None else None
            ending = left or self._ending_of_all(start, more)
            is_mended = left is None and self._stop.first is None
            words = (
                self._restarts.words_after(ending, self.run_folder, has_begun=self._has_begun) if is_mended else None
            )
            if words is None:
                ending = self._restarts.judged(ending)
                self._tell(ending)
                return ending
            start, more, self._known = start + 1, words, None

    def _ending_of_all(self, start: int, more: tuple[str, ...]) -> Ending:
        """Start the processes of all machines once and return how that ended."""
        guests = self._guests
        if guests is None:
            return self._one_start(start, more)
        guests.order(Order(GO, start, more=more))
        ending = self._one_start(start, more)
        if ending.kind != FINISHED:
            guests.order(Order(END, start, ending=ending.to_json()))
        patience_s = ANSWER_S if ending.kind != FINISHED else math.inf
        ending = gravest([ending, *guests.endings(start, self._stop.look, patience_s)])
        if ending.kind == STOPPED and self._may_be_mended():
            # The processes of a killed launcher save, and have the others save; nobody wished the run to end.
            ending = guests.silent() or ending
        return ending

    def _follow(self, host: Host) -> Ending:
        """Do as machine 0 says."""
        host.connect(self._stop.look)
        while True:
            self._known = None
            order = host.await_order(self._stop.look)
            if order.kind == OVER:
                return Ending.from_json(order.ending) if order.ending else Ending()
            host.say(state=RUNNING, start=order.start, ending=None)
            ending = self._one_start(order.start, order.more)
            host.tell(ending)
            patience_s = ANSWER_S if ending.kind != FINISHED else math.inf
            answer = host.await_answer(self._stop.look, patience_s)
            if answer is not None and answer.kind == OVER:
                continue
            if answer is not None and self._stop.first is None:
                console.note(f"{ending.message or 'another machine has ended'}; the run is started again")
                continue
            missing = host.trouble()
            if missing is not None and (ending.kind == FINISHED or self._may_be_mended()):
                ending = missing
            if not self._may_be_mended() or not ending.can_be_mended:
                host.leave(ending)
                return ending
            console.note(f"{ending.message}; trying to reach {host.place} again")
            host.connect(self._stop.look)

    def _may_be_mended(self) -> bool:
        return self._restarts.are_wished and self._stop.first is None

    def _one_start(self, start: int, more: Sequence[str]) -> Ending:
        """Start the processes of this machine once and return how that ended, with nothing left of them."""
        folder = self._folder / f"start-{start}"
        shutil.rmtree(folder, ignore_errors=True)  # of another run of machine 0
        folder.mkdir()
        force = Workforce([*self._arguments, *more], self._environments(start, folder))
        self._known = trouble = None
        try:
            trouble = self._watch(force, folder, start)
        finally:
            # The launcher of machine 0 has gone, or another machine stops: all save, and have the others save.
            is_orderly = self._host is not None and self._host.trouble() is not None
            is_orderly = is_orderly or (trouble is not None and trouble.kind == STOPPED)
            self._end(force, is_orderly=is_orderly, can_answer=(folder / RUN).exists())
            if (run := self.run_folder) is not None:
                run_lock.remove_left(run, force.pids)
        ending = ending_of(folder, force.exit_codes, self._plan.total, self._plan.machine_rank)
        if self._stop.first is not None and ending.kind not in (STOPPED, TOLD):
            ending = self._stop.ending()
        elif trouble is not None and ending.kind == FINISHED:
            ending = trouble
        self._known = ending if ending.kind != FINISHED else None
        return ending

    def _watch(self, force: Workforce, folder: Path, start: int) -> Ending | None:
        """Return when the processes have ended or are to be ended; with what another machine has to do with it."""
        while force.running():
            for number in self._stop.heard():
                # A terminal that closes asks for the same as a scheduler: to save, and to end.
                force.tell(signal.SIGTERM if number.name in ("SIGQUIT", "SIGHUP") else number)
            codes = force.exit_codes
            has_failed = any(code != 0 for code in codes.values()) or has_left_early(folder, codes)
            if has_failed or now() > self._stop.until:
                return None
            if self._stop.first is None and (trouble := self._trouble(start)) is not None:
                return trouble
            time.sleep(PAUSE_S)
        return None

    def _trouble(self, start: int) -> Ending | None:
        if self._guests is not None:
            return self._guests.trouble(start)
        if self._host is None:
            return None
        return self._host.trouble() if self._host.goes_on() else self._host.ended_elsewhere()

    def _end(self, force: Workforce, *, is_orderly: bool, can_answer: bool) -> None:
        """End what is left, as patiently as the reason asks for.

        Args:
            force: the processes.
            is_orderly: they save by themselves.
            can_answer: they have a file for their stacks.
        """
        codes = force.exit_codes.values()
        if is_orderly or (any(codes) and all(code in (0, *ORDERLY) for code in codes)):
            force.end(TOGETHER_S)
        elif self._stop.first is not None:
            force.end(min(max(self._stop.until - now(), 0.0), LAST_WORDS_S))
        else:
            is_hang = not any(code < 0 for code in codes) and can_answer
            force.end(LAST_WORDS_S, evidence=_EVIDENCE if is_hang else None)

    def _environments(self, start: int, folder: Path) -> dict[int, dict[str, str]]:
        """Return the variables of each process of this machine: those that torchrun sets, and ours."""
        plan = self._plan
        found = {}
        for local_rank in range(plan.processes):
            rank = plan.machine_rank * plan.processes + local_rank
            values = {
                "RANK": rank, "WORLD_SIZE": plan.total, "ROLE_RANK": rank, "ROLE_WORLD_SIZE": plan.total,
                "ROLE_NAME": "default", "LOCAL_RANK": local_rank, "LOCAL_WORLD_SIZE": plan.processes,
                "GROUP_RANK": plan.machine_rank, "GROUP_WORLD_SIZE": plan.machines,
                "MASTER_ADDR": plan.main_process_ip or HERE, "MASTER_PORT": self._port,
                "TORCHELASTIC_RUN_ID": self._id, "TORCHELASTIC_RESTART_COUNT": start,
                "TORCHELASTIC_MAX_RESTARTS": plan.max_restarts, "TORCHELASTIC_USE_AGENT_STORE": True,
                "TORCH_NCCL_ASYNC_ERROR_HANDLING": os.environ.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
                LAUNCH_DIR: folder, LAUNCHER: os.getpid(),
            }  # fmt: skip
            found[rank] = {name: str(value) for name, value in values.items()}
        return found
