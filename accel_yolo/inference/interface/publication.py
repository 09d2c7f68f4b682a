"""What is given away of a run or of weights, gathered from where it lies."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accel_yolo.config.val_schema import SPLITS
from accel_yolo.config.yaml_io import load_yaml
from accel_yolo.errors import CheckpointError, ConfigError, DataError
from accel_yolo.models.hub import CARD, CONFIG, WEIGHTS
from accel_yolo.models.licence import UNSTATED
from accel_yolo.models.model_folder import write_folder
from accel_yolo.models.weights import find_weights, load_weights
from accel_yolo.models.weights_meta import Weights
from accel_yolo.reports.model_card import METRICS, NO_REPOSITORY, CardFacts, data_names, model_card

BEST, METRICS_FILE, SETTINGS_FILE = "best.safetensors", "metrics.json", "config.yaml"


@dataclass(frozen=True)
class Publication:
    """Weights and what is known about them.

    Attributes:
        name: of the model.
        weights: see there.
        metrics: content of a `metrics.json`; None where nothing was measured.
        measured_on: names of the data sets of that measurement; empty where that is not known.
        split: of these data sets; "" where it is not known.
        run: content of the `config.yaml` of the training; None where it is not known.
    """

    name: str
    weights: Weights
    metrics: Mapping[str, Any] | None = None
    measured_on: tuple[str, ...] = ()
    split: str = ""
    run: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, source: str | Path, metrics: str | Path = "", licence: str = "") -> Publication:
        """Return what is known about a run folder or a weights file.

        Args:
            source: a run folder (its best weights), or a weights file; of one that lies in a run, that run is used.
            metrics: a `metrics.json`, or the folder of a validation that holds one, instead of the run's own.
            licence: of weights that state none.

        Raises:
            CheckpointError: no weights there, or damaged ones.
            ConfigError: weights that state another licence.
            DataError: metrics that are missing or no metrics.
        """
        path = weights_of(Path(source).expanduser()) or find_weights(str(source))
        weights = _licensed(load_weights(path), licence)
        if path.suffix != ".safetensors":
            weights = dataclasses.replace(weights, meta=weights.meta.derived("converted to safetensors"))
        folder = path.parent.parent if path.parent.name == "weights" else None
        run = _settings_in(folder) if folder is not None else None
        place = Path(metrics).expanduser() if str(metrics) else None
        if place is None and folder is not None and (folder / METRICS_FILE).is_file() and path.name == BEST:
            place = folder
        if place is None:
            return cls(_name_of(path, folder), weights, run=run)
        metrics_there = _metrics_in(place)
        measured = _settings_in(place if place.is_dir() else place.parent)
        return cls(
            _name_of(path, folder), weights, metrics_there, tuple(data_names(measured)), _split_of(measured), run
        )

    def write(self, folder: Path, repo_id: str = "") -> Path:
        """Return `folder` after weights, configuration and card were written into it.

        Args:
            folder: created if missing; files of the three names are replaced.
            repo_id: the repository that it goes to: users find it there, and its name is that of the model. Without
                one a placeholder stands in the card, which an upload replaces.
        """
        known = self.metrics, self.measured_on, self.split, self.run
        name = repo_id.rpartition("/")[2] or self.name
        card = model_card(CardFacts(name, self.weights.meta, repo_id or NO_REPOSITORY, *known))
        return write_folder(folder, self.weights, card)


def weights_of(folder: Path) -> Path | None:
    """Return the weights in a run folder or a model folder; None where it is no folder.

    Raises:
        CheckpointError: a folder without weights.
    """
    if not folder.is_dir():
        return None
    inside = (WEIGHTS, f"weights/{BEST}", "weights/last.safetensors")
    for name in inside:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError("no weights in the folder", str(folder), remedy=f"it needs {' or '.join(inside)}")


def is_model_folder(folder: Path) -> bool:
    """Return whether a folder holds a model with its configuration and card, ready to be uploaded as it is."""
    return all((folder / name).is_file() for name in (WEIGHTS, CONFIG, CARD))


def _licensed(weights: Weights, licence: str) -> Weights:
    stated = weights.meta.licence
    if not licence or licence == stated:
        return weights
    if stated != UNSTATED:
        remedy = "it follows the weights and cannot be changed here"
        raise ConfigError("these weights state a licence already", "--license", stated, remedy)
    return dataclasses.replace(weights, meta=dataclasses.replace(weights.meta, licence=licence))


def _name_of(path: Path, folder: Path | None) -> str:
    if folder is not None:
        return folder.absolute().name
    return path.absolute().parent.name if path.name == WEIGHTS else path.stem


def _settings_in(folder: Path) -> Mapping[str, Any] | None:
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return None
    content = load_yaml(path).data
    return content if isinstance(content, Mapping) and "settings" in content else None


def _split_of(measured: Mapping[str, Any] | None) -> str:
    """Return the split that a training or a validation with these settings measured."""
    if measured is None or not isinstance(measured["settings"], Mapping):
        return ""
    task = measured["settings"].get("task")
    return task if measured.get("command") == "val" and task in SPLITS else "val"


def _metrics_in(place: Path) -> Mapping[str, Any]:
    path = place / METRICS_FILE if place.is_dir() else place
    remedy = f"give a {METRICS_FILE} that `accel-yolo val` or `train` wrote, or its folder"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)[:100]
        raise DataError("cannot read metrics", str(path), reason, remedy) from error
    if not isinstance(content, dict) or not all(isinstance(content.get(key), int | float) for key in METRICS):
        raise DataError("not metrics of a detector", str(path), remedy=remedy)
    return content
