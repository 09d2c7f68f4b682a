"""Where the time of a user's own run goes: the parts of a step, and the validation beside them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PART_COLUMNS = (
    "devices",
    "time of a step",
    "waiting for data",
    "forward",
    "backward",
    "update",
    "other",
    "an epoch's val",
)


@dataclass(frozen=True)
class StepParts:
    """Seconds of a step of the training loop, mean over steps and processes.

    Attributes:
        data_s: the loop, or on a GPU the device, waits for the images of the batch.
        forward_s, backward_s: network and loss.
        update_s: clipping, optimizer, statistics, average; every step is an update here.
        other_s: the rest: matching of the boxes, copies, messages, Python.
    """

    data_s: float
    forward_s: float
    backward_s: float
    update_s: float
    other_s: float

    @classmethod
    def of(cls, step_s: float, waited_s: float, parts_s: dict[str, float]) -> StepParts:
        """Return the parts of a step.

        Args:
            step_s: all of it.
            waited_s: how long the loop waited for the loader.
            parts_s: seconds between the marks of `StepClock`: data, forward, backward, update.
        """
        # What the loop does between two steps includes matching; on a GPU the device may be busy while the loop waits.
        data_s = min(waited_s, parts_s["data"])
        named = (data_s, parts_s["forward"], parts_s["backward"], parts_s["update"])
        return cls(*named, max(step_s - sum(named), 0.0))

    @property
    def total_s(self) -> float:
        """The whole step."""
        return self.data_s + self.forward_s + self.backward_s + self.update_s + self.other_s

    def share(self, seconds: float) -> float:
        """Return seconds as a share of the step, 0..1."""
        return seconds / self.total_s if self.total_s else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return dict(self.__dict__)


def part_cells(processes: int, parts: StepParts, val_share: float) -> list[str]:
    """Return the cells under `PART_COLUMNS`.

    Args:
        processes: devices.
        parts: of a step.
        val_share: share of the validation in an epoch that is validated, 0..1.
    """
    seconds = (parts.data_s, parts.forward_s, parts.backward_s, parts.update_s, parts.other_s)
    cells = [f"{value * 1e3:.3g} ms ({parts.share(value):.1%})" for value in seconds]
    return [str(processes), f"{parts.total_s * 1e3:.4g} ms", *cells, f"{val_share:.1%} of the epoch"]
