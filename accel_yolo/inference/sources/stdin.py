"""Standard input as a source: a list of paths, or encoded images one after the other."""

from __future__ import annotations

import sys

_JPEG, _PNG, _PNG_END = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"IEND"
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))


def read_stdin() -> bytes:
    """Return everything on standard input."""
    return sys.stdin.buffer.read()


def is_encoded(content: bytes) -> bool:
    """Return whether this is an image rather than text."""
    return content.startswith(_JPEG) or b"\0" in content[:4096]


def images_in(content: bytes) -> list[bytes]:
    """Return the JPEG and PNG images that follow each other in `content`; anything else is one image to its end."""
    images, start = [], 0
    while start < len(content):
        end = _end_of(content, start)
        images.append(content[start:end])
        start = end
    return images


def _end_of(content: bytes, start: int) -> int:
    if content.startswith(_JPEG, start):
        return _end_of_jpeg(content, start + 2)
    if content.startswith(_PNG, start):
        return _end_of_png(content, start + len(_PNG))
    return len(content)


def _end_of_png(content: bytes, place: int) -> int:
    while place + 8 <= len(content):
        length, kind = int.from_bytes(content[place : place + 4], "big"), content[place + 4 : place + 8]
        place += 12 + length
        if kind == _PNG_END:
            break
    return min(place, len(content))


def _end_of_jpeg(content: bytes, place: int) -> int:
    """Return where the JPEG ends whose first segment is at `place` (ITU-T T.81, B.1)."""
    while 0 <= place < len(content) - 1:
        marker = content[place + 1]
        if marker == _END_OF_IMAGE:
            return place + 2
        length = 0 if marker in _NO_LENGTH else int.from_bytes(content[place + 2 : place + 4], "big")
        place += 2 + length
        if marker == _START_OF_SCAN:
            place = _end_of_scan(content, place)
    return len(content)


def _end_of_scan(content: bytes, place: int) -> int:
    """Return where the next segment begins: in compressed data, FF is followed by 00 or a restart marker."""
    while (place := content.find(b"\xff", place)) >= 0:
        follower = content[place + 1 : place + 2]
        if follower and follower[0] not in (0x00, 0xFF, *range(0xD0, 0xD8)):
            break
        place += 1
    return place
