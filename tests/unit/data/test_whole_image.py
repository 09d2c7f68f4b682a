"""Whole or not, told without decoding: as strict as a decoder wherever the file says so itself."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from accel_yolo.data import images
from accel_yolo.data.image_header import plain_header
from accel_yolo.data.images import decode, verify
from accel_yolo.data.png_rows import _bytes_of_rows, holds_all_rows
from accel_yolo.data.problems import BadFile
from accel_yolo.data.whole_image import whole_header

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))


def encoded(mode: str, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    PICTURE.convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


TOLD = {
    "JPEG": encoded("RGB", "JPEG"),
    "JPEG with tables of its own": encoded("RGB", "JPEG", optimize=True),
    "JPEG without subsampling": encoded("RGB", "JPEG", subsampling=0),
    "progressive JPEG": encoded("RGB", "JPEG", progressive=True),
    "JPEG with restart markers": encoded("RGB", "JPEG", restart_marker_rows=1),
    "grey JPEG": encoded("L", "JPEG"),
    "JPEG with bytes after its end": encoded("RGB", "JPEG") + bytes(99),
    "PNG": encoded("RGB", "PNG"),
    "grey PNG": encoded("L", "PNG"),
    "PNG with alpha": encoded("RGBA", "PNG"),
    "PNG with a palette": encoded("P", "PNG"),
    "PNG of one bit": encoded("1", "PNG"),
}
LEFT_TO_THE_DECODER = {
    "CMYK JPEG": encoded("CMYK", "JPEG"),
    "WebP": encoded("RGB", "WEBP"),
    "BMP": encoded("RGB", "BMP"),
    "TIFF": encoded("RGB", "TIFF"),
    "animated PNG": encoded("RGB", "PNG", save_all=True, append_images=[PICTURE.convert("RGB").rotate(90)]),
    "nothing": b"",
}


@pytest.fixture
def decoded_verdict(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], object]:
    """Return a function to the verdict that a strict decode of everything gives: a size, or what is wrong."""

    def verdict(content: bytes) -> object:
        with monkeypatch.context() as patch:
            patch.setattr(images, "whole_header", lambda content, _: None)
            return verdict_of(content)

    return verdict


def verdict_of(content: bytes) -> object:
    try:
        return verify(content, "x")
    except BadFile as bad:
        return bad.problem


@pytest.mark.parametrize("kind", TOLD)
def test_a_whole_file_of_a_common_kind_is_told_without_decoding(kind: str) -> None:
    header = whole_header(TOLD[kind], images.MAX_PIXELS)
    assert header is not None
    assert header.size_hw == (48, 64)


@pytest.mark.parametrize("kind", LEFT_TO_THE_DECODER)
def test_every_other_kind_is_left_to_the_decoder(kind: str) -> None:
    assert whole_header(LEFT_TO_THE_DECODER[kind], images.MAX_PIXELS) is None


def test_real_photographs_are_told_with_the_size_that_decoding_finds(
    reference_dir: Path, decoded_verdict: Callable[[bytes], object]
) -> None:
    for path in sorted((reference_dir / "data" / "coco128" / "images").iterdir())[:32]:
        content = path.read_bytes()
        header = whole_header(content, images.MAX_PIXELS)
        assert header is not None
        assert header.size_hw == decoded_verdict(content)


@pytest.mark.parametrize("kind", TOLD)
def test_a_cut_at_any_place_is_noticed(kind: str) -> None:
    content = TOLD[kind].rstrip(b"\0")
    for end in range(0, len(content), 97):
        assert whole_header(content[:end], images.MAX_PIXELS) is None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", TOLD)
def test_random_damage_gets_the_verdict_of_a_decode(kind: str, decoded_verdict: Callable[[bytes], object]) -> None:
    """Header, tables and data alike. Damage inside compressed JPEG data that is no marker passes both."""
    rng = np.random.default_rng(1)
    for _ in range(150):
        content = bytearray(TOLD[kind])
        end = len(content) if rng.random() < 0.5 else min(700, len(content))
        place = int(rng.integers(2, end))
        content[place : place + int(rng.integers(1, 3))] = rng.bytes(int(rng.integers(0, 4)))
        assert verdict_of(bytes(content)) == decoded_verdict(bytes(content))


def test_a_stray_marker_inside_the_data_of_a_jpeg_is_noticed() -> None:
    content = TOLD["JPEG"]
    middle = len(content) * 3 // 4
    block = np.random.default_rng(0).integers(0, 256, 4096, np.uint8).tobytes()
    damaged = content[:middle] + block + content[middle:]
    assert whole_header(damaged, images.MAX_PIXELS) is None
    with pytest.raises(BadFile, match="damaged"):
        verify(damaged, "x")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_pixels(content: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Return a PNG with other compressed data under right checksums, as a faulty writer makes it."""
    place, pixels, parts = 8, b"", [content[:8]]
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        body = content[place + 8 : place + 8 + length]
        place += 12 + length
        if kind == b"IDAT":
            pixels += body
            continue
        parts += [chunk(b"IDAT", change(pixels))] if kind == b"IEND" else []
        parts.append(chunk(kind, body))
    return b"".join(parts)


@pytest.mark.parametrize("kind", ["PNG", "PNG with alpha", "PNG with a palette"])
def test_pixels_that_end_early_under_right_checksums_are_noticed_when_they_are_decoded(kind: str) -> None:
    for change in (
        lambda pixels: pixels[: len(pixels) // 2],
        lambda pixels: zlib.compress(zlib.decompress(pixels)[:-500]),
        lambda pixels: b"xx" + pixels[2:],
    ):
        content = with_pixels(TOLD[kind], change)
        assert kind != "PNG" or not content.count(b"IDATx\x9c") or verify(content, "x") == (48, 64)
        with pytest.raises(BadFile, match="the image is damaged or cut short|the PNG holds fewer rows"):
            decode(content, "x")


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_with_fewer_rows_than_its_header_says_is_not_taken_for_an_image(mode: str, interlaced: bool) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (37, 29)).save(buffer, "PNG")
    whole = buffer.getvalue()
    width, height, depth, colour = struct.unpack_from(">IIBB", whole, 16)
    rows = _bytes_of_rows(width, height, depth, colour, int(interlaced))
    for missing in (0, 1, rows // 2, rows):
        content = _with_pixels(whole, bytes(rows - missing), interlaced)
        assert holds_all_rows(content) is (missing == 0)
        if missing:
            with pytest.raises(BadFile):
                decode(content, "x") if plain_header(content) else verify(content, "x")
        else:
            assert verify(content, "x") == (29, 37)


def _with_pixels(content: bytes, rows: bytes, interlaced: bool) -> bytes:
    """Return a PNG with other pixels, all its checksums right."""
    chunks, position = [], 8
    while position < len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        body = content[position + 8 : position + 8 + length]
        if kind == b"IHDR":
            body = body[:12] + bytes([interlaced])
        chunks.append((kind, zlib.compress(rows) if kind == b"IDAT" else body))
        position += 12 + length
    parts = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    return content[:8] + b"".join(parts)


def test_the_rows_of_too_large_an_image_are_not_counted(monkeypatch):
    """Counting them would inflate megabytes of nothing to hundreds, only to refuse the image after that."""
    header = struct.pack(">IIBBBBB", 10_001, 10_000, 8, 3, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in (
            (b"IHDR", header),
            (b"PLTE", bytes(3)),
            (b"IDAT", zlib.compress(bytes(1000))),
            (b"IEND", b""),
        )
    )
    counted = []
    monkeypatch.setattr("accel_yolo.data.whole_image.holds_all_rows", counted.append)
    with pytest.raises(BadFile, match="more than 100 million pixels: 10001x10000"):
        verify(content, "large.png")
    assert not counted
