"""Safetensors files: headers that lie about their length, about where tensors lie, or are no JSON."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from hostile.cases import Case

DAMAGED, TRUNCATED = "damaged safetensors file in {file}", "empty or truncated safetensors file in {file}"
TOO_LARGE = "header too large for a weights file in {file}"
META = {"__metadata__": {"accel_yolo": "{}"}}


def entry(start: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def file_of(header: bytes | dict[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    """Return a file with a header that may lie about its own length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _of(name: str, content: bytes, *words: str, file: str = "model.safetensors") -> Case:
    return Case(name, file, lambda path, _: path.write_bytes(content), 4, words)


def _sparse(path: Path, _: Path) -> None:
    """Write 200 MB of a header without using the disk for them."""
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", 200 << 20) + b"{")
        stream.truncate((200 << 20) + 100)


PAIR = {**META, "a": entry(0, 8, [2]), "b": entry(4, 12, [2])}
SAFETENSORS_FILES = [
    _of("zero bytes", b"", TRUNCATED),
    _of("seven bytes", b"\x07" * 7, TRUNCATED),
    _of("a header of 2 to the 63", file_of(b"{}", length=1 << 63), TRUNCATED),
    _of("a header of 2 to the 64 less one", file_of(b"{}", length=(1 << 64) - 1), TRUNCATED),
    Case("a header of 200 MB", "model.safetensors", _sparse, 4, (TOO_LARGE, "209715200 bytes")),
    _of("a header of nothing", file_of(b"", b"\0" * 20), DAMAGED),
    _of("no JSON", file_of(b"{hello}"), DAMAGED),
    _of("not UTF-8", file_of(b'{"\xff\xfe":1}'), DAMAGED),
    _of("a list for a header", file_of(b"[1,2]" + b" " * 8), DAMAGED),
    _of("fifty thousand levels", file_of(b'{"a":' * 50_000), DAMAGED),
    _of("spaces in front", file_of(b"  " + json.dumps(META).encode()), "unreadable metadata in {file}"),
    _of("tensors that overlap", file_of(PAIR, bytes(12)), DAMAGED),
    _of("a gap between tensors", file_of({**META, "a": entry(0, 8, [2]), "b": entry(12, 20, [2])}, bytes(20)), DAMAGED),
    _of("a tensor past the end", file_of({**META, "a": entry(0, 80, [20])}, bytes(8)), DAMAGED),
    _of("a tensor of exabytes", file_of({**META, "a": entry(0, 1 << 62, [1 << 60])}, bytes(8)), DAMAGED),
    _of("sides whose product overflows", file_of({**META, "a": entry(0, 0, [1 << 32, 1 << 32])}), DAMAGED),
    _of("an end before its start", file_of({**META, "a": entry(8, 0, [2])}, bytes(8)), DAMAGED),
    _of("a negative side", file_of({**META, "a": entry(0, 8, [-2])}, bytes(8)), DAMAGED),
    _of("a size that is none of its shape", file_of({**META, "a": entry(0, 8, [3])}, bytes(8)), DAMAGED),
    _of("an unknown type", file_of({**META, "a": entry(0, 8, [2], "F33")}, bytes(8)), DAMAGED),
    _of("bytes behind the last tensor", file_of({**META, "a": entry(0, 8, [2])}, bytes(9)), DAMAGED),
    _of(
        "a name twice",
        file_of(
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
            b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
            bytes(4),
        ),
        "{file}",
    ),
    _of("metadata that are no texts", file_of({"__metadata__": {"accel_yolo": 3}}), DAMAGED),
    _of("no metadata", file_of({}), "no accel_yolo metadata in {file}"),
    _of("empty metadata", file_of(META), "{file}"),
    _of("metadata that are no JSON", file_of({"__metadata__": {"accel_yolo": "{"}}), "{file}"),
    _of("metadata fifty thousand levels deep", file_of({"__metadata__": {"accel_yolo": "[" * 50_000}}), "{file}"),
    _of("metadata with an endless number", file_of({"__metadata__": {"accel_yolo": "9" * 5000}}), "{file}"),
    _of("a zip named safetensors", b"PK\x03\x04" + bytes(100), "truncated or damaged PyTorch file in {file}"),
]
