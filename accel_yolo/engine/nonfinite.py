"""NaN and infinity in training: whose they are, in which loss or gradient, and from which images."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from accel_yolo import console
from accel_yolo.engine.build import Training
from accel_yolo.engine.comparison import named
from accel_yolo.engine.own_share import Contents, StepNumbers
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.world import World
from accel_yolo.errors import NonFiniteError, UserError, printable
from accel_yolo.files import write_text_atomic

MOST_SKIPS_IN_A_ROW = 20
"""More updates than this without a finite gradient stop the run."""

LEAST_SCALE = 1.0
"""A loss scale (fp16) below this stops the run: the gradient overflows without being scaled at all."""

_TERMS = ("box", "objectness", "class")
_REMEMBERED = 256
_SHOWN_FILES, _SHOWN_CHARACTERS = 3, 100


@dataclass(frozen=True)
class Sighting:
    """What one process found in the steps that led to an update without a finite gradient.

    Attributes:
        step: steps done before the one it speaks of.
        depth: how near to the cause: 0 a loss, 1 the gradient of the loss, 2 that of a layer; 3 nothing of its own.
        what: in words, with "{}" where the process is to be named.
        terms: box, objectness and class loss of its share.
        contents: image files of its share, each with the rows of its labels.
    """

    step: int
    depth: int
    what: str
    terms: list[float]
    contents: dict[str, list[list[float]]]


class NumberWatch:
    """Keeps the numbers of the last steps on the device and names what was not finite.

    Args:
        training: what learns.
        world: all processes.
        folder: of the run, where batches are written down.
        state: where the run stands.
    """

    def __init__(self, training: Training, world: World, folder: Path, state: TrainState) -> None:
        self._training, self._world, self._folder = training, world, folder
        self._known = state.skips
        self._recent: deque[StepNumbers] = deque(maxlen=_REMEMBERED)
        self._names = [name for name, each in training.detector.named_parameters() if each.requires_grad]

    def take(self, terms: Tensor, contents: Contents, *, step: int, is_update: bool) -> None:
        """Keep what there is to say of a step; nothing waits for the device.

        Args:
            terms: [3] loss terms of this process's share.
            contents: finds its images.
            step: steps done before it.
            is_update: it completed an update.
        """
        norms, modules = self._world.gradient_norms if is_update else None, self._training.modules
        found = modules.taken(forward_only=bool(self._world.scaler_state())) if modules else ""
        self._recent.append(StepNumbers(step, contents, terms, self._training.gradient.own.edges(), norms, found))

    def judge(self, state: TrainState) -> None:
        """Speak of updates that were left out since this was last called; equal on all processes.

        The first one since a start is named in a warning; others are counted, until there are too many in a row.

        Args:
            state: what the host knows of the updates.

        Raises:
            NonFiniteError: too many updates in a row were left out, or the loss scale has fallen too far.
        """
        is_new, self._known = state.skips > self._known, state.skips
        if not is_new or not self._recent:  # a resumed run may have left updates out before it was interrupted
            self._forget()
            return
        scale = self._world.scaler_state().get("scale")
        too_many = state.skips_in_a_row > MOST_SKIPS_IN_A_ROW
        if too_many or (scale is not None and scale < LEAST_SCALE):
            raise self._world.common(self._error(state, scale))
        if self._training.modules or not self._training.course.has_named_a_number:
            self._name_first(state, is_scaled=scale is not None)

    def _forget(self) -> None:
        """Drop the steps of updates that are done and were good."""
        kept: list[StepNumbers] = []
        for numbers in self._recent:
            kept = [] if numbers.norms is not None else [*kept, numbers]
        self._recent.clear()
        self._recent.extend(kept)

    def _name_first(self, state: TrainState, *, is_scaled: bool) -> None:
        """Warn of the first update that was left out; with `--debug-nan` stop at any."""
        seen, place = self._gathered(latest=False)
        if is_scaled and seen[place].depth > 0:
            self._recent.clear()  # the scale is too high, and is lowered: it happens to every run in fp16
            return
        step, told = seen[place].step + 1, f"{self._told(seen, place)}; {self._written_down(seen, place)}"
        if self._training.modules:
            where = f"epoch {state.epoch + 1}, step {step}"
            remedy = "lower lr0, or look at the images and at that module"
            raise self._world.common(NonFiniteError("a number was not finite", where, told, remedy))
        self._training.course.has_named_a_number = True
        console.warn(
            f"the gradient of step {step} was not finite, so the update was left out: {told}. More of them are "
            f"counted, and {MOST_SKIPS_IN_A_ROW + 1} in a row stop the run (--debug-nan stops at the first)"
        )

    def _error(self, state: TrainState, scale: float | None) -> UserError:
        seen, place = self._gathered(latest=True)
        count, where = state.skips_in_a_row, f"epoch {state.epoch + 1}, step {state.step}"
        value = f"{self._told(seen, place)}; {self._written_down(seen, place)}"
        if scale is not None:
            begun = scale / self._world.scaler_state()["backoff_factor"] ** count
            what = f"the loss scale fell from {begun:g} to {scale:g} in {count} updates"
            return NonFiniteError(what, where, value, "use --precision bf16, or fp32, or lower lr0")
        what = f"the gradient was not finite in {count} updates in a row"
        return NonFiniteError(what, where, value, "lower lr0, or use --precision fp32 or bf16")

    def _gathered(self, *, latest: bool) -> tuple[list[Sighting], int]:
        """Return what each process found, and the number of the one that is nearest to the cause."""
        mine = json.dumps(asdict(self._sighting(latest=latest)))
        seen = [Sighting(**json.loads(text)) for text in self._world.gather_text(mine)]
        order = [(each.depth == 3, -each.step if latest else each.step, each.depth) for each in seen]
        return seen, order.index(min(order))

    def _sighting(self, *, latest: bool) -> Sighting:
        """Return what this process found in the steps that are remembered."""
        steps = list(self._recent)
        # Not every device has double precision: the host has.
        rows = [[*each.terms.cpu().double().tolist(), *each.edges.cpu().double().tolist()] for each in steps]
        bad = [place for place, row in enumerate(rows) if steps[place].module or not all(map(math.isfinite, row))]
        if not bad:
            updates = [place for place, each in enumerate(steps) if each.norms is not None]
            place = updates[-1] if updates else len(steps) - 1
            return self._described(steps, place, rows[place], 3, self._parameter(steps[place:]))
        place = bad[-1 if latest else 0]
        *terms, loss, _ = rows[place]
        if steps[place].module:
            return self._described(steps, place, rows[place], 0, steps[place].module)
        for name, value in zip(_TERMS, terms, strict=True):
            if not math.isfinite(value):
                return self._described(steps, place, rows[place], 0, f"the {name} loss of {{}} is {value}")
        what = f"all losses of {{}} are finite, but {self._parameter(steps[place:])}"
        return self._described(steps, place, rows[place], 1 if not math.isfinite(loss) else 2, what)

    def _described(
        self, steps: Sequence[StepNumbers], place: int, row: Sequence[float], depth: int, what: str
    ) -> Sighting:
        return Sighting(steps[place].step, depth, what, list(row[:3]), steps[place].contents())

    def _parameter(self, steps: Sequence[StepNumbers]) -> str:
        """Return which gradient was the first that was not finite, on the way from the loss back to the image."""
        norms = next((each.norms for each in steps if each.norms is not None), None)
        values = [] if norms is None else norms.tolist()
        for name, value in zip(reversed(self._names), reversed(values), strict=False):
            if not math.isfinite(value):
                return f"the gradient of {name} has the norm {value}"
        return "the gradient is not"

    def _told(self, seen: Sequence[Sighting], place: int) -> str:
        found = seen[place]
        alike = sum(each.depth == found.depth and each.step == found.step for each in seen)
        who = named(self._world, place) if self._world.size > 1 else "this run"
        who += f" and {alike - 1} more" if alike > 1 and found.depth < 3 else ""
        if found.depth == 3 and self._world.size > 1:
            compression = self._training.config.gradient_compression
            exchange = "" if compression == "none" else f" (--gradient-compression {compression})"
            return f"the losses of all processes are finite, but after the exchange{exchange} {found.what}"
        files = [printable(path, _SHOWN_CHARACTERS) for path in found.contents]
        more = f" and {len(files) - _SHOWN_FILES} more" if len(files) > _SHOWN_FILES else ""
        return f"{found.what.format(who)}; its images: {', '.join(files[:_SHOWN_FILES])}{more}"

    def _written_down(self, seen: Sequence[Sighting], place: int) -> str:
        """Write what all processes were working on into the run folder and say where; the leader writes."""
        step = seen[place].step + 1
        file = self._folder / f"nonfinite-{step}.json"
        if self._world.is_leader:
            rows = [
                {
                    "process": rank,
                    "place": self._world.place_of(rank),
                    "step": each.step + 1,
                    "found": each.what.format("this process"),
                    "losses": {name: repr(value) for name, value in zip(_TERMS, each.terms, strict=True)},
                    "labels": each.contents,
                }
                for rank, each in enumerate(seen)
            ]
            content = json.dumps({"step": step, "process": place, "processes": rows}, indent=1) + "\n"
            try:
                write_text_atomic(file, content)
            except (OSError, UserError) as error:  # a full disk must not hide what is told here
                return f"there would be more, but: {error}"
        return f"see {printable(str(file))}"
