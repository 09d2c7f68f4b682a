"""The push command: a run or weights as a model folder, and that on the Hugging Face hub."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from accel_yolo import console
from accel_yolo.errors import ConfigError, EnvironmentFault
from accel_yolo.files import whole_folder
from accel_yolo.inference.interface.publication import Publication, is_model_folder
from accel_yolo.models.hub import CARD, CONFIG, WEIGHTS, check_name, require_token, upload
from accel_yolo.models.weights import load_weights
from accel_yolo.reports.model_card import NO_REPOSITORY

if TYPE_CHECKING:
    from accel_yolo.config.push_schema import PushConfig


def push(config: PushConfig) -> str:
    """Return the address of the repository, or the folder where nothing is uploaded.

    A model folder that an earlier `--into` wrote is uploaded as it is, with what was changed in its card since; its
    card now names the repository.

    Raises:
        CheckpointError, DataError: weights or metrics that are missing or damaged.
        ConfigError: a folder that is not empty, or not the name of a repository.
        EnvironmentFault: no token, no connection, or no room.
    """
    if config.to:
        check_name(config.to)
        require_token(None)
    source, target = Path(config.source).expanduser(), Path(config.into).expanduser()
    if config.into and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError("not an empty folder", "--into", config.into, "remove it or choose another")
    if config.to and is_model_folder(source):
        if config.into or config.metrics or config.license:
            remedy = f"edit its README.md, or push what it was made from; leave out {', '.join(_given(config))}"
            raise ConfigError("a model folder is uploaded as it is", value=config.source, remedy=remedy)
        load_weights(source / WEIGHTS)  # and its configuration says the same
        with _naming(config.to, source) as folder:
            return _uploaded(folder, config)
    publication = Publication.of(config.source, config.metrics, config.license)
    if not config.into:
        with tempfile.TemporaryDirectory() as folder:
            return _uploaded(publication.write(Path(folder), repo_id=config.to), config)
    with whole_folder(target) as folder:
        publication.write(folder, config.to)
    console.say(f"Wrote {target}: look at its README.md")
    if config.to:
        return _uploaded(target, config)
    console.say(f"  accel-yolo push {target} --to YOU/{publication.name}")
    return str(target)


@contextlib.contextmanager
def _naming(repo_id: str, folder: Path) -> Iterator[Path]:
    """Give a model folder whose card names the repository: a copy, where it names none yet."""
    with tempfile.TemporaryDirectory() as beside:
        yield _copy_naming(repo_id, folder, Path(beside))


def _copy_naming(repo_id: str, folder: Path, beside: Path) -> Path:
    try:
        card = (folder / CARD).read_bytes()
        if NO_REPOSITORY.encode() not in card:
            return folder
        for name in (WEIGHTS, CONFIG):
            shutil.copyfile(folder / name, beside / name)
        (beside / CARD).write_bytes(card.replace(NO_REPOSITORY.encode(), repo_id.encode()))
        return beside
    except OSError as error:
        raise EnvironmentFault("cannot copy", str(folder), error.strerror or error, "check space and rights") from error


def _given(config: PushConfig) -> list[str]:
    return [f"--{name}" for name in ("into", "metrics", "license") if getattr(config, name)]


def _uploaded(folder: Path, config: PushConfig) -> str:
    address = upload(folder, config.to, config.private or None, message=config.message or None)
    console.say(f"Uploaded to {address}")
    return address
