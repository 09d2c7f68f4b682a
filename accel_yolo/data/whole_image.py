"""Whether a JPEG or PNG is whole, without decoding it: every marker, table and checksum is where it must be.

What is accepted here is decodable from its first to its last byte as far as a strict decoder can tell. Everything else
is not refused but unknown: the careful decoder has the last word (and the words for the user).
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from dataclasses import dataclass, field
from functools import lru_cache

from accel_yolo.data.image_header import Header, plain_header
from accel_yolo.data.png_rows import holds_all_rows

_END, _SCAN, _QUANTISATION, _HUFFMAN, _RESTART = 0xD9, 0xDA, 0xDB, 0xC4, 0xDD
_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
_PROGRESSIVE = 0xC2
_TO_SKIP = frozenset((*range(0xE0, 0xF0), 0xFE))
# The limits of libjpeg.
_LONGEST_SIDE_PX = 65_500
_LARGEST_SHIFT = 13
_MOST_BLOCKS = 10
# In compressed data FF is followed by 00 (it is data) or by a restart marker; anything else is another marker.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")

_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_COLOUR_WITH_PALETTE = 3


def whole_header(content: bytes, most_pixels: int) -> Header | None:
    """Return the header of a JPEG or PNG that is whole; None when that cannot be told without decoding.

    One of more pixels than `most_pixels` is not looked at: counting its rows takes time.
    """
    try:
        if content[:3] == b"\xff\xd8\xff":
            header = plain_header(content)
            fits = header and max(header.size_hw) <= _LONGEST_SIDE_PX and math.prod(header.size_hw) <= most_pixels
            return header if fits and _is_whole_jpeg(content) else None
        if content[:8] == b"\x89PNG\r\n\x1a\n":
            return _whole_png(content, most_pixels)
    except (struct.error, IndexError, ValueError):
        return None
    return None


@dataclass
class _Jpeg:
    """What the segments of a JPEG have said so far (ITU-T T.81, annex B)."""

    progressive: bool = False
    components: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """Component number: horizontal and vertical sampling, quantisation table."""
    quantisation: set[int] = field(default_factory=set)
    huffman: set[int] = field(default_factory=set)
    """Huffman tables by class (0 DC, 16 AC) plus number."""
    scanned: set[int] = field(default_factory=set)

    def takes(self, marker: int, body: bytes) -> bool:
        """Take note of a segment; return False if it is not as it must be, or of a kind that is not known here."""
        if marker in _TO_SKIP:
            return True
        if marker == _RESTART:
            return len(body) == 2
        if marker in (_QUANTISATION, _HUFFMAN):
            found = _quantisation_tables(body) if marker == _QUANTISATION else _huffman_tables(body)
            (self.quantisation if marker == _QUANTISATION else self.huffman).update(found or ())
            return found is not None
        if marker in _FRAMES:
            return not self.components and self._takes_frame(marker, body)
        return marker == _SCAN and self._takes_scan(body)

    def _takes_frame(self, marker: int, body: bytes) -> bool:
        self.progressive = marker == _PROGRESSIVE
        count = body[5]
        for number, sampling, table in struct.iter_unpack("BBB", body[6:]):
            self.components[number] = sampling >> 4, sampling & 15, table
        if len(body) != 6 + 3 * count or len(self.components) != count:
            return False
        for side in (0, 1):
            factors = [component[side] for component in self.components.values()]
            if not all(1 <= factor <= 4 and max(factors) % factor == 0 for factor in factors):
                return False
        return True

    def _takes_scan(self, body: bytes) -> bool:
        count = body[0]
        first, last, shifts = body[-3:]
        chosen = dict(struct.iter_unpack("BB", body[1:-3]))
        if len(body) != 4 + 2 * count or len(chosen) != count or not chosen.keys() <= self.components.keys():
            return False
        if not self._has_right_spectrum(first, last, shifts >> 4, shifts & 15, count):
            return False
        needs_dc = first == 0 and (not self.progressive or shifts >> 4 == 0)
        for number, tables in chosen.items():
            needed = ({tables >> 4} if needs_dc else set()) | ({16 + (tables & 15)} if last > 0 else set())
            if self.components[number][2] not in self.quantisation or not needed <= self.huffman:
                return False
        self.scanned.update(chosen)
        blocks = sum(self.components[number][0] * self.components[number][1] for number in chosen)
        return count == 1 or blocks <= _MOST_BLOCKS

    def _has_right_spectrum(self, first: int, last: int, high: int, low: int, count: int) -> bool:
        if not self.progressive:
            return (first, last, high, low) == (0, 63, 0, 0)
        is_band = first <= last <= 63 and (last == 0 if first == 0 else count == 1)
        return is_band and low <= _LARGEST_SHIFT and (high == 0 or low == high - 1)


def _is_whole_jpeg(content: bytes) -> bool:
    jpeg, position = _Jpeg(), 2
    while content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:  # a filler
            position += 1
            continue
        if marker == _END:
            return jpeg.scanned == set(jpeg.components) != set()
        (length,) = struct.unpack_from(">H", content, position + 2)
        end = position + 2 + length
        if length < 2 or end > len(content) or not jpeg.takes(marker, content[position + 4 : end]):
            return False
        position = end
        if marker == _SCAN:
            found = _NEXT_MARKER.search(content, position)
            if found is None:
                return False
            position = found.start()
    return False


@lru_cache(maxsize=256)
def _quantisation_tables(body: bytes) -> frozenset[int] | None:
    found, position = set(), 0
    while position < len(body):
        precision, number = body[position] >> 4, body[position] & 15
        position += 65 if precision == 0 else 129
        if precision > 1 or number > 3 or position > len(body):
            return None
        found.add(number)
    return frozenset(found)


@lru_cache(maxsize=1024)
def _huffman_tables(body: bytes) -> frozenset[int] | None:
    found, position = set(), 0
    while position < len(body):
        kind, counts = body[position], body[position + 1 : position + 17]
        symbols = body[position + 17 : position + 17 + sum(counts)]
        position += 17 + sum(counts)
        # The codes of each length fit beside the shorter ones, and none is all ones; a DC symbol is a number of bits.
        left = 1
        for count in counts:
            left = 2 * left - count
            if left < 1:
                return None
        if kind & 15 > 3 or kind >> 4 > 1 or sum(counts) > 256 or position > len(body):
            return None
        if kind >> 4 == 0 and symbols and max(symbols) > 15:
            return None
        found.add(kind)
    return frozenset(found)


def _whole_png(content: bytes, most_pixels: int) -> Header | None:
    """Walk the chunks (PNG, chapters 5 and 11); a turned or animated image is left to the careful decoder.

    The rows are counted where the decoder of that kind would fill up missing ones; that of plain ones is strict.
    """
    kinds: list[bytes] = []
    view, position, size_hw, colour = memoryview(content), 8, (0, 0), 0
    while not kinds or kinds[-1] != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, position)
        body, end = position + 8, position + 8 + length
        (checksum,) = struct.unpack_from(">I", content, end)
        if zlib.crc32(view[position + 4 : end]) != checksum or kind in (b"eXIf", b"acTL"):
            return None
        if not kinds:
            width, height, depth, colour, packing, filters, interlace = struct.unpack(">IIBBBBB", view[body:end])
            known = depth in _DEPTHS.get(colour, ()) and (packing, filters) == (0, 0) and interlace in (0, 1)
            if kind != b"IHDR" or not known or width * height > most_pixels:
                return None
            size_hw = height, width
        elif kind[:1].isupper() and kind not in (b"PLTE", b"IDAT", b"IEND"):
            return None
        kinds.append(kind)
        position = end + 4
    if not _is_in_order(kinds, colour) or not _begins_compressed(content):
        return None
    return Header(size_hw, 1) if plain_header(content) or holds_all_rows(content) else None


def _begins_compressed(content: bytes) -> bool:
    """Return whether the first chunk of pixels begins as compressed data do (RFC 1950)."""
    place = content.index(b"IDAT") + 4
    return content[place] & 15 == 8 and int.from_bytes(content[place : place + 2], "big") % 31 == 0


def _is_in_order(kinds: list[bytes], colour: int) -> bool:
    """Return whether the pixels lie in one run of chunks, after the palette where there is one."""
    if kinds.count(b"IHDR") != 1 or kinds.count(b"PLTE") > 1 or b"IDAT" not in kinds:
        return False
    first, count = kinds.index(b"IDAT"), kinds.count(b"IDAT")
    has_palette = b"PLTE" in kinds[:first]
    return kinds[first : first + count] == [b"IDAT"] * count and (has_palette or colour != _COLOUR_WITH_PALETTE)
