"""Checkpoints: folders that exist whole, with digests, or not at all. No pickle."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from accel_yolo import console, waypoints
from accel_yolo.engine.checkpoint_files import STATE, Entry, bytes_of, tensor_pieces, write_file, write_manifest
from accel_yolo.engine.checkpoint_reading import FORMAT, GROUPS, manifest_of, verify
from accel_yolo.errors import CheckpointError, EnvironmentFault, NewerCheckpoint
from accel_yolo.files import fsync_dir, remove_dead_leftovers

KEEP = 2
"""Checkpoints of different steps that are kept at least."""

PREFIX = "step-"
"""Names of checkpoints begin so."""

VALIDATED = "-validated"
"""Suffix of the name of a checkpoint whose epoch has been validated; it follows the one without."""

DAMAGED = ".damaged-"
"""Names of checkpoints that were set aside begin so."""

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "make the folder one that can be written"),
}

_SPARE = 1.1
"""So much of what is needed must be free, for a file system needs room of its own."""

Groups = Mapping[str, Mapping[str, Tensor]]
"""File stem ("model", "ema", "optimizer") -> named tensors."""


class CheckpointFolder:
    """The `checkpoints/` folder of a run: written by one process, read by all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._verified: set[str] = set()

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
            remedy = f"{_REMEDIES.get(error.errno or 0, 'look at the disk')}; the earlier checkpoints are untouched"
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
            files = manifest_of(self.folder / source)["files"] if source else {}
            return {f"{stem}.safetensors": files[f"{stem}.safetensors"] for stem in GROUPS} if files else {}
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
        self._verified.discard(name)
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
        for path in (*self._set_aside(), *(self.folder / name for name in self.names())):
            shutil.rmtree(path, ignore_errors=True)

    def remove_leftovers(self) -> None:
        """Remove what writers that are gone have left behind."""
        remove_dead_leftovers(self.folder)

    def set_aside_after(self, name: str) -> None:
        """Rename what is newer than checkpoint `name` (damaged ones) out of the way.

        What an earlier call has put there goes: damage costs the room of a few checkpoints, not of any number.

        Raises:
            CheckpointError: one of them cannot be renamed.
        """
        newer, before = [each for each in self.names() if each > name], self._set_aside()
        if newer:
            for path in before:
                shutil.rmtree(path, ignore_errors=True)
        for each in newer:
            try:
                (self.folder / each).rename(self._free(f"{DAMAGED}{each}"))
            except OSError as error:
                what, remedy = "a damaged checkpoint cannot be set aside", "move it away, or look at the disk"
                raise CheckpointError(what, str(self.folder / each), error.strerror, remedy) from error

    def _set_aside(self) -> list[Path]:
        return [path for path in self.folder.glob(f"{DAMAGED}*") if path.is_dir()]

    def _free(self, name: str) -> Path:
        """Return a path here that does not exist, from a name."""
        paths = (self.folder / f"{name}{f'-{number}' if number else ''}" for number in itertools.count())
        return next(path for path in paths if not os.path.lexists(path))

    def _prune(self) -> None:
        """Drop a checkpoint that its validated successor replaces, and all that is older than the newest few steps.

        Only whole ones count. Of those that stay, all but the one that was just written are read before one goes.
        """
        names = self.names()
        whole = [name for name in names if self._seems_whole(name)]
        kept = _newest_steps(whole)
        while bad := [name for name in whole[:-1] if _step(name) in kept and not self._is_whole(name)]:
            whole = [name for name in whole if name not in bad]
            kept = _newest_steps(whole)
        for name in names:
            replaced = f"{name}{VALIDATED}" in whole
            if replaced or (len(kept) >= KEEP and _step(name) < kept[0]):
                waypoints.fail_at("prune")
                self._discard(name)

    def _seems_whole(self, name: str) -> bool:
        """Return whether the manifest of a checkpoint is good, and its files have their sizes."""
        try:
            files = manifest_of(self.folder / name)["files"]
            return all((self.folder / name / file).stat().st_size == entry["bytes"] for file, entry in files.items())
        except (OSError, CheckpointError):
            return False

    def _is_whole(self, name: str) -> bool:
        """Return whether the digests of a checkpoint are good; each is read once."""
        if name not in self._verified:
            try:
                verify(self.folder / name)
            except CheckpointError:
                return False
            self._verified.add(name)
        return True


def _step(name: str) -> str:
    return name.removesuffix(VALIDATED)


def _newest_steps(names: Sequence[str]) -> list[str]:
    """Return the steps of the checkpoints that are kept, oldest first."""
    return sorted({_step(name) for name in names})[-KEEP:]


def _written(folder: Path, groups: Groups) -> dict[str, Entry]:
    """Write the tensors into a folder and return the entries of the files."""
    files = {}
    for stem in GROUPS:
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
