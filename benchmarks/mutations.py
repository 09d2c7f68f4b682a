"""Changed copies of weight files: of their bytes, and, under right checksums and lengths, of what they hold."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable


def _colliding(count: int) -> bytes:
    """Return the opcodes of a map whose keys all have the same hash."""
    keys = (number * ((1 << 61) - 1) for number in range(1, count + 1))
    packed = (key.to_bytes((key.bit_length() + 8) // 8, "little") for key in keys)
    return b"}(" + b"".join(b"\x8a" + bytes([len(each)]) + each + b"N" for each in packed) + b"u"


CALLS = (
    b"cposix\nsystem\nX\x05\x00\x00\x00touch\x85R", b"cos\nsystem\n", b"c__builtin__\neval\n", b"cbuiltins\ngetattr\n",
    b"\x8c\x02os\x8c\x06system\x93", b"\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R",
    b"\x8c\x08builtins\x8c\x04exec\x93",
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"cmodels.yolo\nDetectionModel\n)\x81",
    b"Q", b"R", b"b", b"\x81", b"\x92", b"\x93", b"0", b"1", b"2", b"h\x00", b"q\x00", b"j\xff\xff\xff\x7f",
    b"r\xff\xff\xff\x7f", b"\x94", b"(", b"t", b"}", b"]", b"s", b"u", b"a", b"e", b"N", b"K\xff", b"M\xff\xff",
    b"J\xff\xff\xff\xff", b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x8b\xff\xff\xff\x7f", b"X\xff\xff\xff\x7f",
    b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x82\x01", b"\x97", b"i", b"o",
    b"\x85" * 300, b"(" * 300, b"]" * 300, b"\x8f" * 20_000, b"(" + b"\x8f" * 5_000 + b"l", _colliding(2_000),
)  # fmt: skip
"""Pieces of pickles: calls, containers, numbers and lengths beyond reason."""

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 62, (1 << 63) - 1, (1 << 64) - 1)
WORDS = (
    b'"dtype"', b'"shape"', b'"data_offsets"', b"[", b"]", b"{", b"}", b",", b":", b'"', b"-1", b"0", b"1e9",
    b"18446744073709551616", b"9" * 400, b"null", b"true", b'"F32"', b'"F64"', b'"I8"', b'"BOOL"', b'"F8_E4M3"',
    b'"__metadata__"', b"[" * 300, b'{"a":' * 300, b"\\u0000", b"\\ud800", b"\xff", b" " * 1000,
    b"[9223372036854775807]",
)  # fmt: skip


def of_bytes(content: bytes, draw: random.Random, pieces: tuple[bytes, ...] = ()) -> bytes:
    """Return `content` after one to eight changes: bits, bytes, numbers, pieces, cuts, copies."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 2, 4, 8))):
        place = draw.randrange(len(changed) + 1)
        end = min(len(changed), place + draw.choice((1, 2, 4, 8, 64, 1024)))
        kind = draw.randrange(8)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << draw.randrange(8)
        elif kind == 1 and place < len(changed):
            changed[place] = draw.randrange(256)
        elif kind == 2:
            size = draw.choice((1, 2, 4, 8))
            value = draw.choice(NUMBERS) & ((1 << 8 * size) - 1)
            changed[place : place + size] = value.to_bytes(size, draw.choice(("little", "big")))
        elif kind == 3:
            del changed[place:end]
        elif kind == 4:
            changed[place:place] = changed[place:end]
        elif kind == 5:
            source = draw.randrange(len(changed) + 1)
            changed[place:end] = changed[source : source + end - place]
        elif kind == 6 and draw.random() < 0.3:
            del changed[place:]
        elif pieces:
            changed[place : place + draw.choice((0, 0, 4, 16))] = draw.choice(pieces)
        if not changed:
            break
    return bytes(changed)


def of_archive(content: bytes, draw: random.Random) -> bytes:
    """Return a `.pt` file whose pickle or whose entries are changed, with checksums that are right."""
    if draw.random() < 0.2:
        return of_bytes(content, draw)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    (pickle,) = [name for name in entries if name.endswith("data.pkl")]
    if draw.random() < 0.85:
        entries[pickle] = of_bytes(entries[pickle], draw, CALLS)
    if draw.random() < 0.15:
        name = draw.choice(list(entries))
        entries[name] = of_bytes(entries[name] or b"\0", draw)
    if draw.random() < 0.05:
        entries.pop(draw.choice(list(entries)))
    if draw.random() < 0.05:
        entries[draw.choice(list(entries)) + draw.choice(("", "x", "/../x"))] = b"x"
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if draw.random() < 0.03 else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, body in entries.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def of_safetensors(content: bytes, draw: random.Random) -> bytes:
    """Return a safetensors file whose header or numbers are changed, mostly with a length that is right."""
    if draw.random() < 0.2:
        return of_bytes(content, draw)
    (length,) = struct.unpack_from("<Q", content)
    header, numbers = content[8 : 8 + length], content[8 + length :]
    if draw.random() < 0.5:
        header = json.dumps(_edited(json.loads(header), draw)).encode()
    else:
        header = of_bytes(header, draw, WORDS)
    if draw.random() < 0.2:
        numbers = of_bytes(numbers, draw)
    said = len(header) if draw.random() < 0.9 else draw.choice(NUMBERS)
    return struct.pack("<Q", said) + header + numbers


def _edited(header: dict, draw: random.Random) -> dict:
    """Return a header with another value at one place of one tensor, or of what the file says about itself."""
    name = draw.choice(list(header))
    entry = header[name]
    if name == "__metadata__":
        key = draw.choice(list(entry))
        entry[key] = of_bytes(entry[key].encode(), draw, WORDS).decode("utf-8", "replace")
        return header
    kind = draw.choice(list(entry))
    numbers = [draw.choice((-1, 0, 1, 2, 3, *NUMBERS)) for _ in range(draw.choice((0, 1, 2, 2, 4, 9)))]
    entry[kind] = draw.choice((numbers, numbers, "F64", "U8", "none", 7, None, {}))
    if draw.random() < 0.3:
        header[draw.choice((name + "x", draw.choice(list(header))))] = dict(entry)
    return header


MUTATORS: dict[str, Callable[[bytes, random.Random], bytes]] = {"pt": of_archive, "safetensors": of_safetensors}
"""Kind of file -> from a whole one to a changed one."""
