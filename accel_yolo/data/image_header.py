"""What the first bytes of an image say: its kind, size, orientation, and whether the fast decoder may read it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from PIL import Image

_ORIENTATION_TAG = 0x0112
_EXIF = b"Exif\x00\x00"
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
_STANDALONE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))


@dataclass(frozen=True)
class Header:
    """Facts of the common kinds, read without decoding.

    Attributes:
        size_hw: stored (height, width) in px, before orientation.
        orientation: EXIF value 1..8; 1 when absent or damaged.
        scan_start: for JPEG, where the compressed data begin; 0 otherwise.
    """

    size_hw: tuple[int, int]
    orientation: int
    scan_start: int = 0


def plain_header(content: bytes) -> Header | None:
    """Return the header of an 8-bit grey or RGB JPEG or PNG; None for everything that needs the careful decoder."""
    if content[:3] == b"\xff\xd8\xff":
        return _jpeg_header(content)
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return _png_header(content)
    return None


def orientation_of(exif: bytes | None) -> int:
    """Return the orientation 1..8 in an EXIF block; 1 when there is none or it cannot be read."""
    # Most blocks hold no orientation, which a look for its tag in either byte order tells at once.
    if not exif or (b"\x01\x12" not in exif and b"\x12\x01" not in exif):
        return 1
    block = Image.Exif()
    try:
        block.load(exif)
        value = block.get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - a damaged EXIF block raises whatever the parser trips over
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def oriented_hw(stored_hw: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return (height, width) as displayed: orientations 5 to 8 swap the sides."""
    return (stored_hw[1], stored_hw[0]) if orientation >= 5 else stored_hw


def _jpeg_header(content: bytes) -> Header | None:
    """Walk the marker segments up to the start of scan (ITU-T T.81, annex B)."""
    position, size_hw, orientation = 2, None, 1
    while position + 4 <= len(content):
        if content[position] != 0xFF:
            return None
        marker = content[position + 1]
        if marker == 0xFF or marker in _STANDALONE_MARKERS:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", content, position + 2)
        body = position + 4
        if marker == _START_OF_SCAN:
            return Header(size_hw, orientation, body) if size_hw else None
        if marker in _START_OF_FRAME:
            if body + 6 > len(content):
                return None
            bits, height, width, channels = struct.unpack_from(">BHHB", content, body)
            if bits != 8 or channels not in (1, 3) or height == 0:
                return None
            size_hw = height, width
        elif marker == 0xE1 and content.startswith(_EXIF, body):
            orientation = orientation_of(content[body : position + 2 + length])
        position += 2 + length
    return None


def _png_header(content: bytes) -> Header | None:
    """Read IHDR; palette, alpha, transparency and other depths are left to the careful decoder (PNG, chapter 11)."""
    if len(content) < 33 or content[12:16] != b"IHDR":
        return None
    width, height, depth, colour = struct.unpack_from(">IIBB", content, 16)
    before_pixels = content[: max(content.find(b"IDAT"), 0)]
    if depth != 8 or colour not in (0, 2) or b"tRNS" in before_pixels or b"eXIf" in content:
        return None
    return Header((height, width), 1)
