"""Whether a run that has failed is started again, and with which words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from accel_yolo import console
from accel_yolo.engine.endings import FINISHED, Ending
from accel_yolo.engine.failures import checkpoint_names, step_of

MOST_WITHOUT_PROGRESS = 3
"""More restarts than this in a row that bring no newer checkpoint would go on for ever."""


class Restarts:
    """Counts the starts of a run.

    Args:
        allowed: restarts in all.
        has_run: the command trains, and goes on from checkpoints.

    Attributes:
        are_wished: the user asked for some.
    """

    def __init__(self, allowed: int, *, has_run: bool = True) -> None:
        self.are_wished = allowed > 0
        self._allowed, self._has_run, self._done = allowed, has_run, 0
        self._newest, self._reasons = "", list[str]()

    def words_after(self, ending: Ending, run: Path | None, *, has_begun: bool) -> tuple[str, ...] | None:
        """Return the words to add to the command for the next start; None when there is none.

        Args:
            ending: of the start before.
            run: the folder of the run, None where there is none yet.
            has_begun: checkpoints in it are those of this run, and not of an earlier one that `--exist-ok` gives up.
        """
        if ending.kind == FINISHED or not ending.can_be_mended or not self.are_wished:
            return None
        names = checkpoint_names(run) if run is not None and has_begun else []
        newest = max(names, default="")
        if newest > self._newest:
            self._newest, self._reasons = newest, []
        self._reasons.append(ending.message)
        if self._done == self._allowed or len(self._reasons) > MOST_WITHOUT_PROGRESS:
            return None
        self._done += 1
        origin = f"from step {step_of(newest)}" if newest else "from the beginning"
        console.note(f"{ending.message}; restart {self._done} of {self._allowed}, {origin}")
        if run is None or not self._has_run:
            return ()
        # Without a checkpoint, the folder is used anew: a run that is started again is still one run.
        return ("--resume", str(run)) if newest else ("--project", str(run.parent), "--name", run.name, "--exist-ok")

    def judged(self, ending: Ending) -> Ending:
        """Return the last ending, with a word about the restarts if there were some and the run has failed."""
        if ending.failure is None or not self._done or not ending.can_be_mended:
            return ending
        vain = len(self._reasons) - 1
        if vain >= MOST_WITHOUT_PROGRESS:
            alike = ", each time for this reason" if len(set(self._reasons)) == 1 else ""
            since = f"no checkpoint after step {step_of(self._newest)}" if self._newest else "no checkpoint"
            words = f"{vain} restarts have brought {since}{alike}"
        else:
            words = "after 1 restart" if self._done == 1 else f"after {self._done} restarts"
        return replace(ending, failure=replace(ending.failure, message=f"{ending.message} ({words})"))
