"""Checkpoints: folders that exist whole, with digests, or not at all. No pickle."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from accel_yolo import console, waypoints
from accel_yolo.engine.checkpoint_files import (
    MANIFEST,
    STATE,
    Entry,
    bytes_of,
    manifest_text,
    tensor_pieces,
    write_file,
    write_manifest,
)
from accel_yolo.errors import CheckpointError, EnvironmentFault, NewerCheckpoint
from accel_yolo.files import fsync_dir, remove_dead_leftovers, sha256_file

FORMAT = 2
KEEP = 2
"""Checkpoints of different steps that are kept at least."""

PREFIX = "step-"
"""Names of checkpoints begin so."""

VALIDATED = "-validated"
"""Suffix of the name of a checkpoint whose epoch has been validated; it follows the one without."""

_GROUPS = ("model", "ema", "optimizer")
_SPARE = 1.1
"""So much of what is needed must be free, for a file system needs room of its own."""

Groups = Mapping[str, Mapping[str, Tensor]]
"""File stem ("model", "ema", "optimizer") -> named tensors."""


class CheckpointFolder:
    """The `checkpoints/` folder of a run: written by one process, read by all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, groups: Groups, state: Mapping[str, Any], source: str = "") -> Path:
        """Write one checkpoint and return its folder; it appears under its name only when complete and durable.

        Older ones are removed after that, and only those of which newer ones are kept.

        Args:
            name: folder name; names sort by progress.
            groups: contiguous tensors on the host.
            state: plain data for `state.json`.
            source: a checkpoint of the same tensors, whose files are linked instead of written if it is there.

        Raises:
            EnvironmentFault: the disk is full or read-only; older checkpoints are untouched.
        """
        final, temporary = self.folder / name, self.folder / f".tmp-{name}{_mark()}"
        try:
            files = self._linkable(source)
            waypoints.fail_at("save space")
            self.folder.mkdir(parents=True, exist_ok=True)
            if not files:
                self._require_space(bytes_of(groups))
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            if not (files and self._linked(source, temporary, files)):
                files = _written(temporary, groups)
            files[STATE] = _written_state(temporary, state)
            write_manifest(temporary, {"format": FORMAT, "torch": torch.__version__, "files": files})
            waypoints.fail_at("save folder")
            fsync_dir(temporary)
            waypoints.fail_at("save rename")
            self._replace(temporary, final)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            reason = error.strerror or error
            remedy = "free some space; the earlier checkpoints are untouched"
            raise EnvironmentFault("cannot save the checkpoint", str(final), reason, remedy) from error
        with contextlib.suppress(OSError, CheckpointError):  # what cannot be removed costs space, and no run
            self._prune()
        return final

    def _require_space(self, needed: int) -> None:
        """Raise EnvironmentFault when so many bytes and some more are not free."""
        free = shutil.disk_usage(self.folder).free
        if free < needed * _SPARE:
            what = f"disk full: {self.folder.parent} needs {_megabytes(needed)}, has {_megabytes(free)}"
            raise EnvironmentFault(what, remedy="free some space; the earlier checkpoints are untouched")

    def _linkable(self, source: str) -> dict[str, Entry]:
        """Return the entries of the tensor files of a checkpoint that is there, {} if it is not."""
        try:
            files = _manifest(self.folder / source)["files"] if source else {}
            return {f"{stem}.safetensors": files[f"{stem}.safetensors"] for stem in _GROUPS} if files else {}
        except (CheckpointError, KeyError):
            return {}

    def _linked(self, source: str, folder: Path, files: Mapping[str, Entry]) -> bool:
        """Link tensor files into a folder and return whether that is possible here."""
        try:
            for name in files:
                waypoints.fail_at("save link")
                (folder / name).hardlink_to(self.folder / source / name)
        except OSError:  # a file system without hard links: they are written
            for name in files:
                (folder / name).unlink(missing_ok=True)
            return False
        return True

    def _replace(self, temporary: Path, final: Path) -> None:
        if final.exists():  # of the same step: nothing newer than what a run goes on from is left in its way
            self._discard(final.name)
        temporary.rename(final)
        waypoints.fail_at("save parent")
        fsync_dir(self.folder)

    def _discard(self, name: str) -> None:
        trash = self.folder / f".trash-{name}{_mark()}"
        shutil.rmtree(trash, ignore_errors=True)
        (self.folder / name).rename(trash)
        shutil.rmtree(trash, ignore_errors=True)

    def names(self) -> list[str]:
        """Return the names of finished checkpoints, oldest first; names sort by progress.

        Raises:
            CheckpointError: the folder cannot be read.
        """
        try:
            return sorted(path.name for path in self.folder.iterdir() if path.name.startswith(PREFIX))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            remedy = "look at the disk"
            raise CheckpointError("checkpoints cannot be read", str(self.folder), error.strerror, remedy) from error

    def newest_valid(self) -> Path | None:
        """Return the newest checkpoint whose manifest verifies; damaged ones are named and passed over.

        Raises:
            CheckpointError: the folder cannot be read.
            NewerCheckpoint: a newer version wrote it: an older one must not be taken in its place.
        """
        for name in reversed(self.names()):
            try:
                verify(self.folder / name)
            except NewerCheckpoint:
                raise
            except CheckpointError as error:
                console.warn(f"{error}; trying the one before")
            else:
                return self.folder / name
        return None

    def clear(self) -> None:
        """Delete all checkpoints: a new run takes the folder over."""
        for name in self.names():
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def remove_leftovers(self) -> None:
        """Remove what writers that are gone have left behind."""
        remove_dead_leftovers(self.folder)

    def set_aside_after(self, name: str) -> None:
        """Rename what is newer than checkpoint `name` (damaged ones) out of the way; nothing is deleted."""
        for newer in self.names():
            if newer > name:
                (self.folder / newer).rename(self.folder / f".damaged-{newer}-{os.getpid()}")

    def _prune(self) -> None:
        """Drop a checkpoint that its validated successor replaces, and all but the newest few steps."""
        names = self.names()
        steps = sorted({name.removesuffix(VALIDATED) for name in names})
        for name in names:
            replaced = f"{name}{VALIDATED}" in names
            if replaced or name.removesuffix(VALIDATED) not in steps[-KEEP:]:
                waypoints.fail_at("prune")
                self._discard(name)


def verify(checkpoint: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint after checking sizes and digests of every file.

    Raises:
        CheckpointError: naming the file that is missing or damaged, or the checkpoint of a newer version.
    """
    manifest = _manifest(checkpoint)
    for name, entry in manifest["files"].items():
        path = checkpoint / name
        try:
            is_whole = path.stat().st_size == entry["bytes"] and sha256_file(path) == entry["sha256"]
        except FileNotFoundError as error:
            raise CheckpointError("checkpoint is damaged", str(path), "the file is missing") from error
        except OSError as error:
            raise CheckpointError("checkpoint cannot be read", str(path), error.strerror) from error
        if not is_whole:
            raise CheckpointError("checkpoint is damaged", str(path), "size or digest differs from the manifest")
    return manifest


def _manifest(checkpoint: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint. Raises CheckpointError."""
    where = str(checkpoint)
    try:
        content = (checkpoint / MANIFEST).read_bytes()
        manifest = json.loads(content)
        version = int(manifest["format"])
        names = {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError("checkpoint is incomplete", where, f"no readable {MANIFEST}") from error
    # The digest comes before all that the manifest says, its format too: a newer one keeps this spelling.
    if content != manifest_text(manifest) if "sha256" in manifest else version != 1:
        raise CheckpointError("checkpoint is damaged", str(checkpoint / MANIFEST), "its digest differs")
    if version > FORMAT:
        raise NewerCheckpoint(
            "checkpoint was written by a newer version", where, f"format {version}", "update accel_yolo"
        )
    missing = {f"{stem}.safetensors" for stem in _GROUPS} | {STATE}
    if missing - names.keys() or any("/" in name or name in ("", ".", "..") for name in names):
        raise CheckpointError("checkpoint is incomplete", where, "its manifest does not name its files")
    return manifest


def read(checkpoint: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return the tensors by file stem and the state of a checkpoint that `verify` has passed, on the host.

    The state of an older format is that of this one: what it did not know are defaults.

    Raises:
        CheckpointError: its files cannot be opened (a path that is not UTF-8).
    """
    try:
        groups = {stem: load_file(checkpoint / f"{stem}.safetensors") for stem in _GROUPS}
        return groups, json.loads((checkpoint / STATE).read_text())
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:  # torch tells of the disk in its own way
        raise CheckpointError("checkpoint cannot be read", str(checkpoint), error, "check the file and path") from error


def _written(folder: Path, groups: Groups) -> dict[str, Entry]:
    """Write the tensors into a folder and return the entries of the files."""
    files = {}
    for stem in _GROUPS:
        waypoints.fail_at(f"save write {stem}")
        files[f"{stem}.safetensors"] = write_file(folder / f"{stem}.safetensors", tensor_pieces(groups[stem]))
    return files


def _written_state(folder: Path, state: Mapping[str, Any]) -> Entry:
    waypoints.fail_at("save write state")
    return write_file(folder / STATE, [json.dumps(state, indent=1, sort_keys=True).encode()])


def _mark() -> str:
    """Return how names of unfinished folders end: with who writes them."""
    return f"@{socket.gethostname()}@{os.getpid()}"


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e6:.2f} MB"
