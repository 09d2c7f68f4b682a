"""Whether a PNG holds the rows that its header promises: decoders fill up what is missing, some without a word."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type -> samples of a pixel (PNG, table 11.1)."""
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps between columns and rows, of each pass of an interlaced image."""
_PIECE_BYTES = 1 << 20


def holds_all_rows(content: bytes) -> bool:
    """Return whether the compressed data of a PNG begin with all its rows; the image need not be decoded.

    Args:
        content: a file whose header has been checked.
    """
    try:
        missing = _bytes_of_rows(*struct.unpack_from(">IIBB2xB", content, 16))
        inflating = zlib.decompressobj()
        for piece in _compressed(content):
            while piece and missing > 0 and not inflating.eof:
                missing -= len(inflating.decompress(piece, min(missing, _PIECE_BYTES)))
                piece = inflating.unconsumed_tail
        return missing <= 0
    except (struct.error, zlib.error, KeyError):
        return False


def _compressed(content: bytes) -> Iterator[bytes]:
    position = 8
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        if kind == b"IDAT":
            yield content[position + 8 : position + 8 + length]
        position += 12 + length


def _bytes_of_rows(width: int, height: int, depth: int, colour: int, interlace: int) -> int:
    """Return how many bytes the rows have, each with the number of its filter (PNG, chapters 7 and 8)."""
    bits = depth * _SAMPLES[colour]
    passes = _PASSES if interlace else ((0, 0, 1, 1),)
    total = 0
    for left, top, columns, rows in passes:
        across, down = -(-(width - left) // columns), -(-(height - top) // rows)
        if across > 0 and down > 0:
            total += down * (1 + (across * bits + 7) // 8)
    return total
