"""Where a run stands: immutable plain data."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from accel_yolo.errors import NewerCheckpoint

if TYPE_CHECKING:
    from torch import Tensor


AP_DIGITS = 3


@dataclass(frozen=True)
class TrainState:
    """Everything a run needs to go on, besides tensors. Randomness is keyed, so no generator state is in it.

    Attributes:
        phase: "train", or "validate" when the epoch's steps are done and its validation is not.
        epoch: epochs completed (phase "train") or the one to be validated (phase "validate").
        step: steps done over the whole run.
        updates: optimizer updates applied.
        images: training images seen.
        skips: updates skipped because the gradient was not finite.
        skips_in_a_row: those since the last applied update.
        best: best fitness so far, -1 before the first validation.
        best_epoch: its epoch.
        stopped: patience has run out.
        losses: mean (box, objectness, class) training losses of the last completed epoch.
        class_ap: AP of every class in the last validation, where the next order is drawn by it (`--image-weights`); ()
            before the first.
        position: samples of the current epoch that are done.
        shift: by how much `step` is ahead of the step of the schedule; not 0 after the batch was changed on the way.
        counted: steps that `terms` are summed over.
        terms: the loss terms of the epoch so far, of each process, in a checkpoint in mid-epoch.
        unread: what the device had counted there and the host had not read: updates skipped, and those in a row.
    """

    phase: str = "train"
    epoch: int = 0
    step: int = 0
    updates: int = 0
    images: int = 0
    skips: int = 0
    skips_in_a_row: int = 0
    best: float = -1.0
    best_epoch: int = 0
    stopped: bool = False
    losses: tuple[float, ...] = (0.0, 0.0, 0.0)
    class_ap: tuple[float, ...] = ()
    position: int = 0
    shift: int = 0
    counted: int = 0
    terms: tuple[tuple[float, ...], ...] = ()
    unread: tuple[int, ...] = ()

    def after_step(self, images: int, is_update: bool, applied: bool | Tensor) -> TrainState:
        """Return the state after one step.

        Args:
            images: images of the step over all processes.
            is_update: an update was due.
            applied: it was applied, because the gradient was finite. When only the device knows (see `World.apply`)
                it counts as applied until the device is read: `corrected` then puts it right.
        """
        applied = applied if isinstance(applied, bool) else True
        skipped = is_update and not applied
        return replace(
            self,
            step=self.step + 1,
            counted=0,
            terms=(),
            unread=(),
            images=self.images + images,
            position=self.position + images,
            updates=self.updates + int(applied),
            skips=self.skips + int(skipped),
            skips_in_a_row=0 if applied else self.skips_in_a_row + int(skipped),
        )

    def corrected(self, skipped: int, in_a_row: int) -> TrainState:
        """Return the state when the device has said which updates, counted as applied, it had skipped.

        Args:
            skipped: how many.
            in_a_row: updates skipped since the last one that was applied.
        """
        return replace(self, updates=self.updates - skipped, skips=self.skips + skipped, skips_in_a_row=in_a_row)

    def to_validate(self, losses: tuple[float, ...]) -> TrainState:
        """Return the state after the last step of an epoch, with its mean training losses."""
        return replace(self, phase="validate", losses=losses)

    def within_epoch(self, counted: int, terms: tuple[tuple[float, ...], ...], unread: tuple[int, ...]) -> TrainState:
        """Return the state to be saved in mid-epoch: with what the epoch has gathered so far."""
        return replace(self, counted=counted, terms=terms, unread=unread)

    def placed(self, steps_per_epoch: int, batch: int) -> TrainState:
        """Return the state on a schedule: its place is counted in samples, which a changed batch leaves where they are.

        Args:
            steps_per_epoch: of the run as it goes on.
            batch: samples of a step as it goes on. Samples of a step that was begun are shown again.
        """
        done = min(self.position // batch, steps_per_epoch - 1)
        if self.phase == "validate":
            done = steps_per_epoch
        shift = self.step - (self.epoch * steps_per_epoch + done)
        if shift == self.shift:
            return self
        position = self.position if self.phase == "validate" else done * batch
        return replace(self, shift=shift, position=position)

    def after_epoch(self, epoch_fitness: float | None, patience: int) -> TrainState:
        """Return the state after an epoch.

        Args:
            epoch_fitness: its fitness, None when it was not validated. NaN is never best.
            patience: epochs without improvement before the run stops; 0 never stops.
        """
        best, best_epoch = self.best, self.best_epoch
        if epoch_fitness is not None and epoch_fitness > best:
            best, best_epoch = epoch_fitness, self.epoch
        waited = self.epoch - best_epoch
        stopped = epoch_fitness is not None and patience > 0 and waited >= patience
        after = replace(self, phase="train", epoch=self.epoch + 1, position=0)
        return replace(after, best=best, best_epoch=best_epoch, stopped=stopped)

    def waiting(self, patience: int) -> TrainState:
        """Return a state that is taken up again: with a larger patience, one that had run out has not."""
        waited = self.epoch - 1 - self.best_epoch
        return replace(self, stopped=self.stopped and 0 < patience <= waited)

    def weighing(self, class_ap: tuple[float, ...]) -> TrainState:
        """Return the state in which the next order is drawn by these AP of all classes.

        They are rounded: the last digits depend on how the work was shared, and an order should seldom.
        """
        return replace(self, class_ap=tuple(round(each, AP_DIGITS) for each in class_ap))

    @property
    def is_best(self) -> bool:
        """True when the epoch just completed is the best one."""
        return self.best >= 0 and self.best_epoch == self.epoch - 1

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return dict(self.__dict__)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TrainState:
        """Return the state that `to_json` described. Raises NewerCheckpoint when it says what is not known here."""
        if unknown := data.keys() - {field.name for field in fields(cls)}:
            what = "the state of the run was written by a newer version"
            raise NewerCheckpoint(what, value=", ".join(sorted(unknown)), remedy="update accel_yolo")
        rows = {name: tuple(data.get(name, ())) for name in ("losses", "class_ap", "unread")}
        terms = tuple(map(tuple, data.get("terms", ())))
        return cls(**{**data, **rows, "terms": terms})
