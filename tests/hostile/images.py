"""Images: cut, flipped, huge by their header, of other kinds than they say, no files at all."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from hostile.cases import Case, written

PIXELS = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
PICTURE = Image.fromarray(PIXELS)
UNKNOWN = "not an image of a supported kind"
TOO_MANY = "the image has more than 100 million pixels"


def encoded(kind: str, picture: Image.Image = PICTURE, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    """Return a chunk of a PNG."""
    checksum = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def png(width: int, height: int, body: bytes, *more: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def jpeg_of_size(width: int, height: int) -> bytes:
    content = bytearray(JPEG)
    place = content.index(b"\xff\xc0")
    content[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 0x55
    return bytes(changed)


JPEG, PNG = encoded("JPEG", quality=95), encoded("PNG")
WEBP, TIFF, BMP = encoded("WEBP"), encoded("TIFF"), encoded("BMP")
ROWS = zlib.compress(bytes(48 * (64 * 3 + 1)))
EXIF_OF_GARBAGE = b"Exif\x00\x00" + b"II*\x00" + bytes(range(256)) * 250


def with_segment(marker: int, body: bytes) -> bytes:
    """Return a JPEG with one more segment at its beginning."""
    return JPEG[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + JPEG[2:]


def tiff_tag(tag: int, kind: int, count: int, value: int) -> bytes:
    """Return a TIFF in which a tag has another value."""
    content = bytearray(TIFF)
    (start,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, start)
    for entry in range(entries):
        place = start + 2 + 12 * entry
        if struct.unpack_from("<H", content, place)[0] == tag:
            struct.pack_into("<HHII", content, place, tag, kind, count, value)
    return bytes(content)


def tiff_of_itself() -> bytes:
    """Return a TIFF whose next directory is its first."""
    content = bytearray(TIFF)
    (start,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, start)
    struct.pack_into("<I", content, start + 2 + 12 * entries, start)
    return bytes(content)


def bmp_of_size(width: int, height: int) -> bytes:
    return BMP[:18] + struct.pack("<ii", width, height) + BMP[26:]


def _image(name: str, content: bytes, code: int, *words: str, file: str = "bad.jpg") -> Case:
    return Case(name, file, written(content), code, words)


def _holes(path: Path, _: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(2 << 30)


def _fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path, _: Path) -> None:
    path.mkdir()


def _dangling(path: Path, _: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def _itself(path: Path, _: Path) -> None:
    path.symlink_to(path)


def _socket(path: Path, _: Path) -> None:
    import socket

    here = Path.cwd()
    os.chdir(path.parent)  # addresses are short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


ANIMATED = encoded("WEBP", save_all=True, append_images=[PICTURE.rotate(90)] * 3)
DEEP = cv2.imencode(".png", PIXELS.astype(np.uint16) * 257)[1].tobytes()

IMAGES = [
    _image("zero bytes", b"", 3, "{file}: the image file is empty: 0 bytes"),
    _image("a web page", b"<!doctype html><html></html>", 3, "{file}: " + UNKNOWN, "<!doctype ht"),
    _image("random bytes", os.urandom(64).replace(b"\xff\xd8", b""), 3, "{file}: "),
    _image("a program", b"\x7fELF" + bytes(200), 3, "{file}: " + UNKNOWN),
    _image("a JPEG cut in the middle", JPEG[: len(JPEG) // 2], 3, "{file}: the JPEG is cut short (no end marker)"),
    _image("a JPEG without its last two bytes", JPEG[:-2], 3, "{file}: the JPEG is cut short (no end marker)"),
    _image("a JPEG of three bytes", JPEG[:3], 3, "{file}: "),
    _image("a JPEG with a broken table", flipped(JPEG, JPEG.index(b"\xff\xc4") + 8), 3, "{file}: the image is damaged"),
    _image("a JPEG of 65535 x 65535", jpeg_of_size(65535, 65535), 3, "{file}: " + TOO_MANY, "65535x65535"),
    _image("a JPEG without height", jpeg_of_size(64, 0), 3, "{file}: "),
    _image("a segment longer than the file", JPEG[:2] + b"\xff\xe1\xff\xff" + b"x" * 20, 3, "{file}: "),
    _image("a PNG cut in the middle", PNG[: len(PNG) // 2], 3, "{file}: the image is damaged", file="bad.png"),
    _image("a PNG with a flipped byte", flipped(PNG, len(PNG) // 2), 3, "{file}: the image is damaged", file="b.png"),
    _image(
        "a PNG with a bad checksum", png(64, 48, ROWS, chunk(b"gAMA", bytes(4), crc=7)), 3, "{file}: ", file="bad.png"
    ),
    _image(
        "a PNG of half its rows",
        png(64, 48, zlib.compress(bytes(24 * 257)), colour=6),
        3,
        "{file}: the PNG holds fewer rows than its header says",
        file="bad.png",
    ),
    _image("a PNG of 30000 x 30000", png(30_000, 30_000, ROWS), 3, "{file}: " + TOO_MANY, file="bad.png"),
    _image("a PNG of 2 to the 31", png(2**31 - 1, 2**31 - 1, ROWS), 3, "{file}: ", file="bad.png"),
    _image("a PNG without pixels", png(64, 48, b""), 3, "{file}: the image is damaged", file="bad.png"),
    _image("a PNG of no width", png(0, 48, ROWS), 3, "{file}: ", file="bad.png"),
    _image("a PNG of an unknown depth", png(64, 48, ROWS, depth=3), 3, "{file}: ", file="bad.png"),
    _image(
        "a PNG with a bomb of text",
        png(64, 48, ROWS, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 28)))),
        0,
        file="bad.png",
    ),
    _image(
        "a PNG with a bomb of a profile",
        png(64, 48, ROWS, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 28)))),
        0,
        file="bad.png",
    ),
    _image("a WebP cut in the middle", WEBP[: len(WEBP) // 2], 3, "{file}: ", file="bad.webp"),
    _image("a TIFF cut in the middle", TIFF[: len(TIFF) // 2], 3, "{file}: ", file="bad.tif"),
    _image("a TIFF of 2 to the 32 columns", tiff_tag(256, 4, 1, 2**32 - 1), 3, "{file}: ", file="bad.tif"),
    _image("a TIFF with strips past its end", tiff_tag(273, 4, 1, 2**31), 3, "{file}: ", file="bad.tif"),
    _image("a TIFF with a million entries", tiff_tag(273, 4, 1 << 30, 8), 3, "{file}: ", file="bad.tif"),
    _image("a TIFF that continues at its beginning", tiff_of_itself(), 0, file="bad.tif"),
    _image("a BMP of 30000 x 30000", bmp_of_size(30_000, 30_000), 3, "{file}: " + TOO_MANY, file="bad.bmp"),
    _image("a BMP of negative width", bmp_of_size(-64, 48), 3, "{file}: ", file="bad.bmp"),
    _image(
        "below ten pixels", encoded("PNG", Image.new("RGB", (9, 40))), 3, "{file}: both sides must have at least 10"
    ),
    _image("a GIF", encoded("GIF"), 3, "{file}: " + UNKNOWN),
    _image("an ICO", encoded("ICO"), 3, "{file}: " + UNKNOWN),
    _image("a PostScript program", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", 3, "{file}: " + UNKNOWN),
    _image("sixteen bits", DEEP, 0, file="deep.png"),
    _image("CMYK", encoded("JPEG", PICTURE.convert("CMYK")), 0),
    _image("an animation", ANIMATED, 0, file="animated.webp"),
    _image("a PNG named jpg", PNG, 0),
    _image("a JPEG named png", JPEG, 0, file="named.png"),
    _image("an EXIF block of garbage", with_segment(0xE1, EXIF_OF_GARBAGE), 0),
    _image("a bad colour profile", with_segment(0xE2, b"ICC_PROFILE\x00\x01\x01" + b"junk" * 900), 0),
    _image("ten thousand comments", JPEG[:2] + (b"\xff\xfe\x00\x03x" * 10_000) + JPEG[2:], 0),
    _image("bytes after the end", JPEG + b"PK\x03\x04" + bytes(1000), 0),
    Case("two gigabytes of holes", "holes.jpg", _holes, 3, ("{file}: ", "2147483648 bytes, at most 1073741824")),
    Case("a pipe", "pipe.jpg", _fifo, 3, ("{file}: ", "not a regular file")),
    Case("a folder named as an image", "folder.jpg", _folder, 0),
    Case("a link to nothing", "link.jpg", _dangling, 3, ("{file}: ",)),
    Case("a link to itself", "loop.jpg", _itself, 3, ("{file}: ",)),
    Case("a socket", "socket.jpg", _socket, 3, ("{file}: ",)),
]
"""Each lies beside one good image in a data set that `data check` reads; status 3 says that one was left out."""


def data_set_with(path: Path) -> Path:
    """Return the data YAML of a data set of one good image and what lies in the folder of `path`."""
    root = path.parent
    (root / "good.png").write_bytes(PNG)
    data = root / "data.yaml"
    data.write_text("train: .\nval: .\nnames: [a, b, c]\n")
    return data
