"""Checkpoints: folders that exist whole, with digests, or not at all. No pickle."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from accel_yolo import console
from accel_yolo.errors import CheckpointError, EnvironmentFault
from accel_yolo.files import fsync_dir, fsync_file, sha256_file

FORMAT = 1
KEEP = 2
"""Checkpoints of different steps that are kept at least."""

PREFIX = "step-"
"""Names of checkpoints begin so."""

VALIDATED = "-validated"
"""Suffix of the name of a checkpoint whose epoch has been validated; it follows the one without."""

_TENSOR_FILES = ("model.safetensors", "ema.safetensors", "optimizer.safetensors")


class CheckpointFolder:
    """The `checkpoints/` folder of a run: written by one process, read by all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, groups: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> Path:
        """Write one checkpoint and return its folder; it appears under its name only when complete and durable.

        Args:
            name: folder name; an older checkpoint of that name is replaced.
            groups: file stem ("model", "ema", "optimizer") -> named tensors.
            state: plain data for `state.json`.

        Raises:
            EnvironmentFault: the disk is full or read-only; older checkpoints are untouched.
        """

        def fill(folder: Path) -> None:
            for stem, tensors in groups.items():
                plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
                save_file(plain, folder / f"{stem}.safetensors")

        return self._publish(name, fill, state)

    def rewrite_state(self, source: str, name: str, state: dict[str, Any]) -> Path:
        """Write a checkpoint with the tensors of `source` (linked, not copied) and another state."""

        def fill(folder: Path) -> None:
            for file in _TENSOR_FILES:
                _link(self.folder / source / file, folder / file)

        return self._publish(name, fill, state)

    def _publish(self, name: str, fill: Callable[[Path], None], state: dict[str, Any]) -> Path:
        final, temporary = self.folder / name, self.folder / f".tmp-{name}-{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            fill(temporary)
            _seal(temporary, state)
            _replace(temporary, final)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            reason = getattr(error, "strerror", None) or error
            remedy = "free some space; the earlier checkpoints are untouched"
            raise EnvironmentFault("cannot save the checkpoint", str(final), reason, remedy) from error
        self._prune()
        return final

    def names(self) -> list[str]:
        """Return the names of finished checkpoints, oldest first; names sort by progress."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))

    def newest_valid(self) -> Path | None:
        """Return the newest checkpoint whose manifest verifies; damaged ones are named and passed over."""
        for name in reversed(self.names()):
            try:
                verify(self.folder / name)
            except CheckpointError as error:
                console.warn(f"{error}; trying the one before")
            else:
                return self.folder / name
        return None

    def clear(self) -> None:
        """Delete all checkpoints: a new run takes the folder over."""
        for name in self.names():
            if name.startswith(PREFIX):
                shutil.rmtree(self.folder / name, ignore_errors=True)

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
                trash = self.folder / f".trash-{name}"
                (self.folder / name).rename(trash)
                shutil.rmtree(trash, ignore_errors=True)


def verify(checkpoint: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint after checking sizes and digests of every file.

    Raises:
        CheckpointError: naming the file that is missing or damaged.
    """
    manifest_path = checkpoint / "manifest.json"
    try:
        manifest = json.loads(manifest_path.read_text())
        version = int(manifest["format"])
        files = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError("checkpoint is incomplete", str(checkpoint), "no readable manifest.json") from error
    if version > FORMAT:
        raise CheckpointError("checkpoint was written by a newer version", str(checkpoint), version)
    for name, (size, digest) in files.items():
        path = checkpoint / name
        if not path.is_file() or path.stat().st_size != size or sha256_file(path) != digest:
            raise CheckpointError("checkpoint is damaged", str(path), "size or digest differs from the manifest")
    return manifest


def read(checkpoint: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return the tensors by file stem and the state of a checkpoint that `verify` has passed, on the host.

    Raises:
        CheckpointError: its files cannot be opened (a path that is not UTF-8).
    """
    try:
        groups = {Path(file).stem: load_file(checkpoint / file) for file in _TENSOR_FILES}
        return groups, json.loads((checkpoint / "state.json").read_text())
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError("checkpoint cannot be read", str(checkpoint), error, "check the file and path") from error


def _seal(folder: Path, state: dict[str, Any]) -> None:
    """Add state and manifest; everything is durable before the manifest exists."""
    (folder / "state.json").write_text(json.dumps(state, indent=1, sort_keys=True))
    files = {}
    for path in sorted(folder.iterdir()):
        path.chmod(0o644)
        fsync_file(path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({"format": FORMAT, "torch": torch.__version__, "files": files}, indent=1))
    fsync_file(manifest)
    fsync_dir(folder)


def _replace(temporary: Path, final: Path) -> None:
    if final.exists():
        trash = final.with_name(f".trash-{final.name}")
        shutil.rmtree(trash, ignore_errors=True)
        final.rename(trash)
        temporary.rename(final)
        shutil.rmtree(trash, ignore_errors=True)
    else:
        temporary.rename(final)
    fsync_dir(final.parent)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # file systems without hard links
        shutil.copyfile(source, target)
