"""What each tracker is told and how; Accelerate's classes do the talking."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS

from accel_yolo.files import write_text_atomic

Values = dict[str, float]


@dataclass(frozen=True)
class Subject:
    """The run that is tracked.

    Attributes:
        folder: its folder.
        project: under which its tracker files it.
        name: of the run.
        config: its settings, flat; texts and numbers only.
        entity: team or user of a tracker that has such; "" is the tracker's default.
        is_resumed: it goes on with an earlier run.
    """

    folder: Path
    project: str
    name: str
    config: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    entity: str = ""
    is_resumed: bool = False


@dataclass(frozen=True)
class Place:
    """Where values belong: an epoch, and the step it was at."""

    epoch: int
    step: int


class Adapter:
    """A tracker that Accelerate knows and about which nothing more is known here.

    Its values have one axis, the step: trackers differ in whether they know more.
    """

    options: Mapping[str, Any] = {}

    def __init__(self, kind: str, subject: Subject) -> None:
        self.kind, self.subject = kind, subject
        self.tracker: Any = None

    def start(self) -> str:
        """Open the run of the tracker and give it the settings; return where to look, or ""."""
        PartialState(cpu=True)  # Accelerate's loggers ask it who speaks
        maker = LOGGER_TYPE_TO_CLASS[self.kind]
        self.tracker = maker(*self.where(), **self.options)
        self.tracker.start()
        self.configure()
        return ""

    def where(self) -> tuple[str, ...]:
        """Return what Accelerate's class wants to know first: the project, and a folder if it writes into one."""
        writes = LOGGER_TYPE_TO_CLASS[self.kind].requires_logging_directory
        return (self.subject.project, str(self.subject.folder)) if writes else (self.subject.project,)

    def configure(self) -> None:
        """Give the tracker the settings of the run."""
        self.tracker.store_init_configuration(dict(self.subject.config))

    def log_step(self, values: Values, place: Place) -> None:
        """Log a reading within an epoch."""
        self.tracker.log(values, step=place.step)

    def log_epoch(self, values: Values, place: Place) -> None:
        """Log the values of an epoch."""
        self.tracker.log({**values, "epoch": place.epoch}, step=place.step)

    def log_picture(self, path: Path, place: Place) -> None:
        """Log a picture, where the tracker takes some."""
        if hasattr(self.tracker, "log_images"):
            self.tracker.log_images({path.stem: [pixels_of(path)]}, step=place.step)

    def log_file(self, path: Path) -> None:
        """Keep a file of the run with it, where the tracker keeps files."""

    def finish(self, *, failed: bool) -> None:
        """Close the run of the tracker."""
        self.tracker.finish()

    def remembered(self) -> str:
        """Return by what name the tracker knows this run, from an earlier start of it; "" when it does not."""
        if not self.subject.is_resumed:
            return ""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads(self._memory().read_text())["id"])
        return ""

    def remember(self, run_id: str) -> None:
        """Keep that name, so that a resumed run goes on where it was."""
        write_text_atomic(self._memory(), json.dumps({"id": run_id}) + "\n")

    def _memory(self) -> Path:
        return self.subject.folder / "trackers" / f"{self.kind}.json"


class TensorBoard(Adapter):
    """Files in the run folder. Epochs lie along their number, as with YOLOv5; readings along the step."""

    def where(self) -> tuple[str, ...]:
        return "tensorboard", str(self.subject.folder)

    def start(self) -> str:
        super().start()
        return f"tensorboard --logdir {self.subject.folder.parent}"

    def configure(self) -> None:
        # Accelerate's own way would open a second run, named after the time, beside this one.
        self.tracker.tracker.add_hparams(dict(self.subject.config), {}, run_name=".")

    def log_epoch(self, values: Values, place: Place) -> None:
        self.tracker.log(values, step=place.epoch)

    def log_picture(self, path: Path, place: Place) -> None:
        self.tracker.log_images({path.stem: pixels_of(path)[None]}, step=place.epoch, dataformats="NHWC")


class Wandb(Adapter):
    """Weights & Biases. Without a key it records on disk, to be uploaded later; it never asks."""

    def start(self) -> str:
        import wandb.errors

        run_id = self.remembered() or secrets.token_hex(4)
        self.options = {
            "name": self.subject.name,
            "entity": self.subject.entity or None,
            "dir": str(self.subject.folder),
            "id": run_id,
            "resume": "allow",
        }
        offline = ""
        try:
            super().start()
        except wandb.errors.UsageError:
            self.options, offline = {**self.options, "mode": "offline"}, "no key is known here: recorded on disk, "
            super().start()
        self.remember(run_id)
        run = self.tracker.tracker
        run.define_metric("epoch")
        run.define_metric("*", step_metric="epoch")
        run.define_metric("step/*", step_metric="step")
        where = getattr(run, "url", None) or f"wandb sync {Path(run.dir).parent}"
        return offline + where

    def log_step(self, values: Values, place: Place) -> None:
        self.tracker.log({**values, "step": place.step})

    def log_epoch(self, values: Values, place: Place) -> None:
        self.tracker.log({**values, "epoch": place.epoch})

    def log_picture(self, path: Path, place: Place) -> None:
        import wandb

        self.tracker.log({path.stem: wandb.Image(str(path)), "epoch": place.epoch})

    def log_file(self, path: Path) -> None:
        import wandb

        kind = "model" if path.suffix == ".safetensors" else "results"
        artifact = wandb.Artifact(f"run_{self.tracker.tracker.id}_{kind}", type=kind)
        artifact.add_file(str(path))
        self.tracker.tracker.log_artifact(artifact, aliases=["latest", path.stem])

    def finish(self, *, failed: bool) -> None:
        self.tracker.tracker.finish(exit_code=int(failed))


class MLflow(Adapter):
    """MLflow: a server, or a database file where none is named. Every value has an axis of its own."""

    def start(self) -> str:
        import mlflow

        name = self.remembered()
        self.options = {"run_id": name} if name else {"run_name": self.subject.name}
        super().start()
        self.remember(self.tracker.tracker.info.run_id)
        place = mlflow.get_tracking_uri()
        return place if place.startswith("http") else f"mlflow ui --backend-store-uri {place}"

    def configure(self) -> None:
        if not self.remembered():  # settings are written once: a second value would be refused
            super().configure()

    def log_epoch(self, values: Values, place: Place) -> None:
        self.tracker.log(values, step=place.epoch)

    def log_picture(self, path: Path, place: Place) -> None:
        self.tracker.log_artifact(str(path), "pictures")

    def log_file(self, path: Path) -> None:
        self.tracker.log_artifact(str(path), "weights" if path.suffix == ".safetensors" else None)

    def finish(self, *, failed: bool) -> None:
        import mlflow

        mlflow.end_run("FAILED" if failed else "FINISHED")


ADAPTERS: Mapping[str, type[Adapter]] = {"tensorboard": TensorBoard, "wandb": Wandb, "mlflow": MLflow}
"""Trackers about which more is known than what Accelerate's class does."""


def adapter_for(kind: str, subject: Subject) -> Adapter:
    """Return what speaks to a tracker."""
    return ADAPTERS.get(kind, Adapter)(kind, subject)


def pixels_of(path: Path) -> Any:
    """Return a picture as uint8 [H, W, 3] RGB."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
