"""Which run goes on, from which checkpoint, and what of its settings may change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from accel_yolo import console
from accel_yolo.config.resolve import COMMAND_LINE, load_config, resume_train
from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.build import Data, Training
from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.checkpoint_reading import read
from accel_yolo.engine.data_comparison import SPLIT_NAMES
from accel_yolo.engine.divergence import require_equal_weights
from accel_yolo.engine.optim import restore_optimizer
from accel_yolo.engine.run_folder import RunFolder
from accel_yolo.engine.sharing import Resumed, share_json, share_resumed, share_tensors
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.world import World
from accel_yolo.errors import CheckpointError, DataError
from accel_yolo.models.weights_meta import Weights, WeightsMeta

LIES_ELSEWHERE = ("data", "weights", "workers")
"""Settings that each machine may have its own of, when a run is resumed."""

AUTO = "auto"
"""`--resume` without a value: the newest run."""

DIFFERENCES_SHOWN = 10


@dataclass(frozen=True)
class Opened:
    """A checkpoint that a run goes on from, on every process.

    Attributes:
        name: of its folder.
        groups: "model", "ema" and "optimizer" -> named tensors, on the host.
        plain: its state, see `Checkpoints`.
        run: the run folder, for messages.
        more: which flag would have it go on, where nothing is left to do; "" where something is.
    """

    name: str
    groups: Mapping[str, dict[str, Tensor]]
    plain: Mapping[str, Any]
    run: Path
    more: str

    @property
    def state(self) -> TrainState:
        """Where the run stands."""
        return TrainState.from_json(dict(self.plain["train"]))

    @property
    def weights(self) -> Weights | None:
        """What is trained; None in a checkpoint of the first format, which did not say."""
        meta = self.plain.get("model")
        if meta is None:
            return None
        return Weights(self.groups["model"], WeightsMeta.from_json(json.dumps(meta), str(self.run / self.name)))

    def is_all(self) -> bool:
        """Return whether nothing is left to do, and say so."""
        if self.more:
            remedy = f"{self.more} would go on, or a run from its weights/last.safetensors"
            console.note(f"{self.run} is finished after {self.state.epoch} epochs; nothing is left to do; {remedy}")
        return bool(self.more)

    def require_fitting(self, training: Training, data: Data, run: RunFolder, world: World) -> None:
        """Check that what goes on is what was saved.

        Raises:
            CheckpointError: other classes, or a model of other entries or shapes; the first ten are named.
            DataError: other images or labels, where `--data` names the same data set as before.
        """
        names, theirs = training.detector.names, data.names
        odd = [
            f"{number} {names.get(number, 'nothing')!r} is {theirs.get(number, 'nothing')!r} in the data"
            for number in sorted({*names, *theirs})
            if names.get(number) != theirs.get(number)
        ]
        with world.together():
            if odd:
                what, remedy = "the classes of the run and of the data differ", "use the data it was trained on"
                raise CheckpointError(what, str(self.run), _shown(odd), remedy)
            state = {"model": training.detector.state_dict(), "ema": training.ema.detector.state_dict()}
            for stem, mine in state.items():
                if odd := _differences(mine, self.groups[stem]):
                    what, remedy = "the checkpoint is that of another model", "restore the files of the run"
                    raise CheckpointError(what, str(self.run), _shown(odd), remedy)
            if world.is_leader:
                self._require_same_data(data, is_another="data" in run.changes)

    def _require_same_data(self, data: Data, *, is_another: bool) -> None:
        # With other images it would be another run. A checkpoint of the first format does not say which it had.
        digests, counts = self.plain.get("data", {}), self.plain.get("images", {})
        for split, index in (("train", data.train), ("val", data.val)):
            if digests.get(split, index.digest) == index.digest:
                continue
            count, had = len(index), counts.get(split)
            differs = f" instead of {had}" if had not in (None, count) else ", other images or labels among them"
            value = f"{count} images{differs}"
            what = f"the {SPLIT_NAMES[split]} are not those that the run has had so far"
            if not is_another:
                remedy = "restore images and labels, or give what is there a data YAML of another name: --data"
                raise DataError(what, str(data.union.root), value, remedy)
            console.note(f"{what}: {value}")

    def load_into(self, training: Training, world: World) -> TrainState:
        """Give everything that learns the tensors and counters of this checkpoint and return where the run stands.

        Raises:
            PeerError: a process has loaded something else than the others.
        """
        training.detector.load_state_dict(self.groups["model"])
        training.ema.detector.load_state_dict(self.groups["ema"])
        training.ema.updates = self.plain["ema_updates"]
        restore_optimizer(training.detector, training.optimizer, self.groups["optimizer"])
        world.restore_scaler(self.plain["scaler"])
        state = self.state
        require_equal_weights(training, world, state.step)
        world.count_skips(state.skips_in_a_row)
        if not state.unread or world.skips.on_device:
            return state
        skipped, in_a_row = state.unread  # a device had counted them; here the host does
        training.ema.discount(skipped)
        return replace(state.corrected(skipped, in_a_row), unread=())


def open_newest(run: RunFolder, config: TrainConfig, world: World) -> Opened | None:
    """Return the newest valid checkpoint of a resumed run on all processes; the leader reads. None for a new run.

    What is newer and damaged is set aside, and what writers that were killed have left is removed.

    Raises:
        CheckpointError: no checkpoint is valid.
    """
    if not run.is_resumed:
        return None
    groups: dict[str, dict[str, Tensor]] = {}
    plain, name, more = {}, "", ""
    with world.together():
        if world.is_leader:
            run.remove_leftovers()
            found = run.checkpoints.newest_valid()
            if found is None:
                last, remedy = run.weights / "last.safetensors", "start anew"
                if last.exists():
                    remedy += f"; --weights {last} begins with the weights of the last epoch that was saved"
                raise CheckpointError("no valid checkpoint", str(run.checkpoints.folder), remedy=remedy)
            (groups, plain), name = read(found), found.name
            state = TrainState.from_json(plain["train"]).waiting(config.patience)
            plain["train"] = state.to_json()
            if (state.stopped or state.epoch >= config.epochs) and run.is_concluded():
                more = "a larger --patience" if state.stopped else "more --epochs"
            run.checkpoints.set_aside_after(name)
    shared = {kind: share_tensors(groups.get(kind, {}), world) for kind in ("model", "ema", "optimizer")}
    plain, name, more = share_json([plain, name, more], world)
    return Opened(name, shared, plain, run.path, more)


def described_weights(opened: Opened | None, run: RunFolder) -> Weights | None:
    """Return the weights that say what a resumed run trains; None for a new run."""
    if opened is None:
        return None
    return opened.weights or run.last_weights()


def _differences(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[str]:
    found = [f"{name} missing" for name in mine if name not in theirs]
    found += [f"{name} unexpected" for name in theirs if name not in mine]
    found += [
        f"{name} {list(theirs[name].shape)} instead of {list(value.shape)}"
        for name, value in mine.items()
        if name in theirs and theirs[name].shape != value.shape
    ]
    return found


def _shown(differences: list[str]) -> str:
    more = len(differences) - DIFFERENCES_SHOWN
    return ", ".join(differences[:DIFFERENCES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def find_resumed(config: TrainConfig, origins: dict[str, str], world: World) -> Resumed:
    """Return the run folder that `--resume` names (None without it), with its configuration and origins.

    The leader looks; the run need not be on the disks of the other machines. Devices are those of this command line:
    a run continues on any number of processes.

    Raises:
        CheckpointError: there is no such run, or it holds no checkpoint.
        ConfigError: a flag was typed that would change the recipe of the run.
    """
    if not config.resume:
        return None, config, origins
    found: Resumed = (None, config, origins)
    with world.together():
        if world.is_leader:
            found = _found_run(config, origins)
    folder, resumed, origins_of_run = share_resumed(found, world)
    # Where things lie on this machine, its own command line says.
    here = {name: getattr(config, name) for name in LIES_ELSEWHERE if origins.get(name) == COMMAND_LINE}
    return folder, replace(resumed, **here), origins_of_run


def _found_run(config: TrainConfig, origins: dict[str, str]) -> Resumed:
    typed_name = origins.get("name") == COMMAND_LINE
    named = Path(config.project) / config.name if typed_name else None
    wanted = named if config.resume == AUTO else Path(config.resume)
    run = _run_of(wanted) if wanted is not None else _newest_run(Path(config.project))
    saved, asked = load_config(run / "config.yaml"), (config, origins)
    resumed, origins = resume_train(saved, asked)
    console.say(f"Resuming {run}")
    if resumed.device != config.device:
        console.note(f"the run was on --device {resumed.device}; type it again to use the same devices")
    return run, replace(resumed, device=config.device), origins


def _newest_run(project: Path) -> Path:
    runs = [path.parent for path in project.glob("*/checkpoints") if CheckpointFolder(path).names()]
    if not runs:
        raise CheckpointError("no run to resume", str(project), remedy="give its folder: --resume runs/train/exp")
    return max(runs, key=lambda run: (run / "checkpoints").stat().st_mtime_ns)


def _run_of(path: Path) -> Path:
    """Return the run folder of a path inside it: the run itself, a weight file or a checkpoint."""
    for folder in (path, path.parent, path.parent.parent):
        if (folder / "config.yaml").is_file() and CheckpointFolder(folder / "checkpoints").names():
            return folder
    raise CheckpointError("no checkpoint to resume", str(path), remedy="name a run folder, such as runs/train/exp")
