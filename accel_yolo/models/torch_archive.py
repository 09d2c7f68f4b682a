"""The zip archive that PyTorch writes: its pickle read inertly, its numbers within their bounds; and written."""

from __future__ import annotations

import math
import struct
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from accel_yolo.errors import CheckpointError
from accel_yolo.models.inert_pickle import MAX_PICKLE_BYTES, TensorRecord, read_inert
from accel_yolo.models.pickle_writer import PickleWriter

MAX_ENTRIES = 100_000
MOST_TENSOR_BYTES = 2
"""All tensors together have at most so many times the bytes of the file: many may be views of the same numbers."""

AGAIN = "get the file again"

ALIGNMENT = 64
_LOCAL_HEADER_BYTES = 30
_EXTRA_HEADER = struct.Struct("<HH")


class TorchArchive:
    """An opened `.pt` file: `content` is its pickle as inert data, `tensor` reads one of its tensors."""

    def __init__(self, archive: zipfile.ZipFile, where: str) -> None:
        self._zip = archive
        self._where = where
        self._room = MOST_TENSOR_BYTES * Path(where).stat().st_size
        names = archive.namelist()
        if len(names) > MAX_ENTRIES or len(set(names)) != len(names):
            raise CheckpointError("not a PyTorch file: too many or repeated entries", where, len(names), AGAIN)
        pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
        if any(name.endswith("constants.pkl") for name in names):
            raise CheckpointError(
                "a TorchScript file, not a checkpoint", where, remedy="give the .pt it was exported from"
            )
        if len(pickles) != 1:
            raise CheckpointError("not a PyTorch file: no data.pkl inside", where, remedy="give a YOLOv5 .pt file")
        self._root = pickles[0][: -len("data.pkl")]
        self._swap = self._written_order(names) != sys.byteorder
        self.content: Any = read_inert(self._entry(pickles[0], MAX_PICKLE_BYTES), where)

    def tensor(self, record: TensorRecord) -> Tensor:
        """Return the tensor of a record, contiguous, with its own memory.

        Raises:
            CheckpointError: the storage is missing or of another size, the view reaches outside it, or all tensors
                together are far larger than the file.
        """
        storage = record.storage
        dtype: torch.dtype = getattr(torch, storage.dtype)
        size = torch.empty(0, dtype=dtype).element_size()
        content = bytearray(self._entry(f"{self._root}data/{storage.key}", storage.count * size, exact=True))
        self._check_bounds(record)
        self._room -= math.prod(record.shape) * size
        if self._room < 0:
            raise CheckpointError(
                "tensors without bounds", self._where, f"over {MOST_TENSOR_BYTES} times the file", AGAIN
            )
        if self._swap and size > 1:
            view = memoryview(bytes(content))
            for byte in range(size):
                content[byte::size] = view[size - 1 - byte :: size]
        if not content:
            return torch.empty(record.shape, dtype=dtype)
        flat = torch.frombuffer(content, dtype=dtype)
        return flat.as_strided(record.shape, record.stride, record.offset).clone(memory_format=torch.contiguous_format)

    def _check_bounds(self, record: TensorRecord) -> None:
        shape, stride, count = record.shape, record.stride, record.storage.count
        total = 1
        for side in shape:
            total *= max(side, 0)
        last = record.offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=False))
        legal = len(shape) == len(stride) <= 8 and min((record.offset, *shape, *stride)) >= 0
        if not legal or total > count or (total > 0 and last >= count):
            raise CheckpointError("a tensor reaches outside its storage", self._where, f"shape {shape[:9]}", AGAIN)

    def _written_order(self, names: list[str]) -> str:
        if f"{self._root}byteorder" not in names:
            return "little"
        order = self._entry(f"{self._root}byteorder", 16).decode("ascii", "replace").strip()
        if order not in ("little", "big"):
            raise CheckpointError("unknown byte order", self._where, order, AGAIN)
        return order

    def _entry(self, name: str, limit: int, exact: bool = False) -> bytes:
        """Return an entry of at most (or exactly) `limit` bytes; the checksum is verified."""
        try:
            info = self._zip.getinfo(name)
            # The declared sizes are compared first, so that nothing large is allocated on a file's word.
            if info.file_size > limit or (exact and info.file_size != limit):
                raise CheckpointError(
                    "an entry has the wrong size", self._where, f"{name}: {info.file_size} bytes", AGAIN
                )
            if info.compress_type != zipfile.ZIP_STORED:
                raise CheckpointError("a compressed entry, which PyTorch never writes", self._where, name, AGAIN)
            with self._zip.open(info) as stream:
                content = stream.read(info.file_size + 1)
        except (
            KeyError,
            ValueError,
            RuntimeError,
            NotImplementedError,
            EOFError,
            OSError,
            zipfile.BadZipFile,
        ) as error:
            reason = f"{name}: {str(error)[:100]}"
            raise CheckpointError("damaged PyTorch file", self._where, reason, AGAIN) from error
        if len(content) != info.file_size:
            raise CheckpointError("damaged PyTorch file", self._where, name, AGAIN)
        return content


@contextmanager
def open_torch_archive(path: Path) -> Iterator[TorchArchive]:
    """Yield the archive in `path`.

    Raises:
        CheckpointError: no such file, empty, a web page, the format before PyTorch 1.6, not a zip, damaged.
    """
    where = str(path)
    try:
        with path.open("rb") as stream:
            start = stream.read(512)
    except OSError as error:
        raise CheckpointError("cannot read weights", where, error.strerror or error, "check the path") from error
    if not start:
        raise CheckpointError("empty file", where, remedy=AGAIN)
    if start.lstrip()[:1] == b"<":
        raise CheckpointError("a web page, not weights", where, remedy="the download failed; get the file again")
    if not start.startswith(b"PK"):
        if start[0] == 0x80:
            remedy = "if you trust it, load it in the PyTorch that wrote it and save it again"
            raise CheckpointError("the file format before PyTorch 1.6 is not supported", where, remedy=remedy)
        raise CheckpointError("not a PyTorch file", where, remedy="give a .safetensors or a YOLOv5 .pt file")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError("truncated or damaged PyTorch file", where, str(error)[:100], AGAIN) from error
    with archive:
        yield TorchArchive(archive, where)


def write_torch_archive(path: Path, content: Any) -> None:
    """Write `content` as a `.pt` file that `torch.load` reads; equal content gives equal bytes.

    Args:
        path: the file, which is written as it goes: give a temporary one.
        content: what `PickleWriter` knows.
    """
    writer = PickleWriter()
    pickled = writer.pickled(content)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _add_entry(archive, "data.pkl", pickled)
        _add_entry(archive, "byteorder", sys.byteorder.encode("ascii"))
        for key, tensor in enumerate(writer.storages):
            _add_entry(archive, f"data/{key}", tensor.numpy().tobytes())
        _add_entry(archive, "version", b"3\n")


def _add_entry(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add an entry whose content begins at a multiple of 64 bytes, where a mapped file can be computed on."""
    info = zipfile.ZipInfo(f"archive/{name}", date_time=(1980, 1, 1, 0, 0, 0))
    start = archive.start_dir + _LOCAL_HEADER_BYTES + len(info.filename) + _EXTRA_HEADER.size
    padding = -start % ALIGNMENT
    info.extra = _EXTRA_HEADER.pack(int.from_bytes(b"FB", "little"), padding) + b"Z" * padding
    archive.writestr(info, content)
