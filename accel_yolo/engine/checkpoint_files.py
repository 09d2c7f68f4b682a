"""The files of a checkpoint: written once, synchronised with the disk, with digests of what was in memory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from accel_yolo import waypoints

Entry = dict[str, Any]
"""What a manifest says of a file: its "bytes" and "sha256"."""

MANIFEST, STATE = "manifest.json", "state.json"
PIECE = 1 << 22
"""Bytes of a write, about; also what small tensors are collected to."""

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_file(path: Path, pieces: Iterable[bytes | memoryview]) -> Entry:
    """Write a new file durably and return its entry; the digest is that of the pieces, whatever the disk makes of them.

    Raises:
        OSError: it exists, or cannot be written.
    """
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        for piece in _collected(pieces):
            digest.update(piece)
            size += len(piece)
            left = memoryview(piece)
            while left:
                left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _collected(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Yield the same bytes in pieces that are worth a call of the system each."""
    small = bytearray()
    for piece in pieces:
        view = memoryview(piece)
        if len(small) + len(view) <= PIECE:
            small += view
            continue
        if small:
            yield bytes(small)
            small.clear()
        yield from (view[start : start + PIECE] for start in range(0, len(view), PIECE))
    if small:
        yield bytes(small)


def file_order(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names in the order in which a file has the tensors: long types first, so that all lie aligned."""
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def tensor_pieces(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a safetensors file of contiguous tensors on the host; equal tensors give equal bytes.

    Written by hand because the library makes a second copy of everything, and cannot say what it has written.
    """
    names = file_order(tensors)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name in names:
        value = tensors[name]
        end = start + value.numel() * value.element_size()
        header[name] = {"dtype": _NAMES[value.dtype], "shape": list(value.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    yield from _memory(tensors[name] for name in names)


def _memory(tensors: Iterable[Tensor]) -> Iterator[memoryview]:
    """Yield the bytes of contiguous tensors; those that lie one behind the other in memory come in one piece."""
    run, start, end = torch.UntypedStorage(), 0, 0
    for tensor in tensors:
        if not tensor.is_contiguous():
            raise ValueError(f"a tensor of shape {tuple(tensor.shape)} does not lie in memory as in a file")
        storage, begin = tensor.untyped_storage(), int(tensor.storage_offset()) * tensor.element_size()
        if begin != end or storage.data_ptr() != run.data_ptr():
            yield from _bytes(run, start, end)
            run, start = storage, begin
        end = begin + tensor.nbytes
    yield from _bytes(run, start, end)


def _bytes(storage: torch.UntypedStorage, start: int, end: int) -> Iterator[memoryview]:
    if end > start:
        flat = torch.empty(0, dtype=torch.uint8).set_(storage, start, (end - start,))  # pyright: ignore
        yield memoryview(flat.numpy())  # pyright: ignore[reportArgumentType]


def bytes_of(groups: Mapping[str, Mapping[str, Tensor]]) -> int:
    """Return about how many bytes tensors take on the disk."""
    sizes = [value.numel() * value.element_size() + 150 for group in groups.values() for value in group.values()]
    return sum(sizes) + (1 << 16)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of a folder durably; everything else in it is durable already."""
    waypoints.fail_at("save manifest")
    write_file(folder / MANIFEST, [manifest_text(manifest)])


def manifest_text(manifest: Mapping[str, Any]) -> bytes:
    """Return the file of a manifest: its only spelling, ending with the digest of the rest."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    body = json.dumps(content, indent=1, sort_keys=True)
    return json.dumps({**content, "sha256": hashlib.sha256(body.encode()).hexdigest()}, indent=1).encode() + b"\n"
