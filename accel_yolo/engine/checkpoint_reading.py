"""Reading checkpoints: a manifest is believed after its digest, files are after theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from accel_yolo.engine.checkpoint_files import MANIFEST, STATE, manifest_text
from accel_yolo.errors import CheckpointError, NewerCheckpoint
from accel_yolo.files import sha256_file

FORMAT = 2
"""The newest format that is known here, which is written."""

GROUPS = ("model", "ema", "optimizer")
"""What the files of tensors are called, without their suffix."""

_RESTORE = "if there is a copy, restore its files"
_LOOK = "look at the disk, and at who may read it"


def verify(checkpoint: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint after checking sizes and digests of every file.

    Raises:
        CheckpointError: naming the file that is missing or damaged, or the checkpoint of a newer version.
    """
    manifest = manifest_of(checkpoint)
    for name, entry in manifest["files"].items():
        path = checkpoint / name
        try:
            is_whole = path.stat().st_size == entry["bytes"] and sha256_file(path) == entry["sha256"]
        except FileNotFoundError as error:
            raise CheckpointError("checkpoint is damaged", str(path), "the file is missing", _RESTORE) from error
        except OSError as error:
            raise CheckpointError("checkpoint cannot be read", str(path), error.strerror, _LOOK) from error
        if not is_whole:
            what, value = "checkpoint is damaged", "size or digest differs from the manifest"
            raise CheckpointError(what, str(path), value, _RESTORE)
    return manifest


def manifest_of(checkpoint: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint. Raises CheckpointError."""
    where = str(checkpoint)
    try:
        content = (checkpoint / MANIFEST).read_bytes()
        manifest = json.loads(content)
        version = int(manifest["format"])
        names = {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError("checkpoint is incomplete", where, f"no readable {MANIFEST}", _RESTORE) from error
    # The digest comes before all that the manifest says, its format too: a newer one keeps this spelling.
    if content != manifest_text(manifest) if "sha256" in manifest else version != 1:
        raise CheckpointError("checkpoint is damaged", str(checkpoint / MANIFEST), "its digest differs", _RESTORE)
    if version > FORMAT:
        raise NewerCheckpoint(
            "checkpoint was written by a newer version", where, f"format {version}", "update accel_yolo"
        )
    missing = {f"{stem}.safetensors" for stem in GROUPS} | {STATE}
    if missing - names.keys() or any("/" in name or name in ("", ".", "..") for name in names):
        raise CheckpointError("checkpoint is incomplete", where, "its manifest does not name its files", _RESTORE)
    return manifest


def read(checkpoint: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return the tensors by file stem and the state of a checkpoint that `verify` has passed, on the host.

    The state of an older format is that of this one: what it did not know are defaults.

    Raises:
        CheckpointError: its files cannot be opened (a path that is not UTF-8).
    """
    try:
        groups = {stem: load_file(checkpoint / f"{stem}.safetensors") for stem in GROUPS}
        return groups, json.loads((checkpoint / STATE).read_text())
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:  # torch tells of the disk in its own way
        raise CheckpointError("checkpoint cannot be read", str(checkpoint), error, "check the file and path") from error
