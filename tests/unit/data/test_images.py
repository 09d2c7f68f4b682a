"""Decoding: every kind of file to RGB uint8 by one rule, damage never passes as an image."""

from __future__ import annotations

import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from accel_yolo.data import images
from accel_yolo.data.image_header import plain_header
from accel_yolo.data.images import decode, read_image, read_resized, verify
from accel_yolo.data.problems import BadFile
from accel_yolo.errors import DataError


def scene(height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth picture without symmetry."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 5 % 256, columns * 3 % 256, (rows + columns) * 2 % 256], axis=2).astype(np.uint8)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_lossless_kinds_give_the_pixels_that_were_stored(kind: str) -> None:
    options = {"lossless": True, "quality": 100, "exact": True} if kind == "WEBP" else {}
    content = encoded(Image.fromarray(scene()), kind, **options)
    np.testing.assert_array_equal(decode(content, "x"), scene())


def test_a_jpeg_is_rgb_and_near_what_was_stored() -> None:
    image = decode(encoded(Image.fromarray(scene()), "JPEG", quality=95), "x")
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - scene()).mean() < 3


def test_grey_is_repeated_on_three_channels() -> None:
    grey = scene()[..., 0]
    for kind in ("PNG", "BMP", "TIFF"):
        np.testing.assert_array_equal(decode(encoded(Image.fromarray(grey), kind), "x"), np.stack([grey] * 3, 2))


def test_one_bit_is_black_and_white() -> None:
    bits = Image.fromarray(scene()[..., 0] > 100)
    for kind in ("PNG", "TIFF", "BMP"):
        expected = np.repeat((scene()[..., :1] > 100) * np.uint8(255), 3, axis=2)
        np.testing.assert_array_equal(decode(encoded(bits, kind), "x"), expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_cut(kind: str) -> None:
    deep = (np.arange(20 * 30, dtype=np.uint32).reshape(20, 30) * 109 % 65536).astype(np.uint16)
    image = decode(encoded(Image.fromarray(deep), kind), "x")
    np.testing.assert_array_equal(image[..., 1], (deep >> 8).astype(np.uint8))


def test_sixteen_bit_colour_is_scaled_not_cut() -> None:
    deep = scene().astype(np.uint16) * 256 + 77
    content = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode(content, "x"), scene())


def test_floating_point_is_taken_as_zero_to_one() -> None:
    values = np.linspace(-0.5, 1.5, 15 * 20, dtype=np.float32).reshape(15, 20)
    image = decode(encoded(Image.fromarray(values), "TIFF"), "x")
    np.testing.assert_array_equal(image[..., 2], np.rint(values.clip(0, 1) * 255).astype(np.uint8))


def test_a_palette_is_looked_up() -> None:
    palette = Image.fromarray(scene()).quantize(16)
    np.testing.assert_array_equal(decode(encoded(palette, "PNG"), "x"), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_laid_over_white(kind: str) -> None:
    layered = np.dstack([scene(), np.full(scene().shape[:2], 255, np.uint8)])
    layered[:10, :, 3] = 0
    layered[10:20, :, 3] = 128
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    image = decode(encoded(Image.fromarray(layered), kind, **options), "x")
    assert (image[:10] == 255).all()
    expected = (scene()[10:20].astype(float) * 128 + 255 * 127) / 255
    assert np.abs(image[10:20] - expected).max() <= 0.51
    np.testing.assert_array_equal(image[20:], scene()[20:])


def test_a_transparent_colour_is_white() -> None:
    picture = Image.fromarray(np.full((12, 12, 3), (10, 20, 30), np.uint8))
    assert (decode(encoded(picture, "PNG", transparency=(10, 20, 30)), "x") == 255).all()


def test_cmyk_jpeg_is_converted() -> None:
    flat = Image.new("RGB", (32, 32), (200, 40, 90)).convert("CMYK")
    image = decode(encoded(flat, "JPEG", quality=98), "x")
    assert np.abs(image.astype(int) - (200, 40, 90)).max() <= 4


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert (decode(content, "x") == (255, 0, 0)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_is_applied_to_pixels_and_size(kind: str, orientation: int) -> None:
    picture = Image.fromarray(scene())
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True, "exact": True} if kind == "WEBP" else {}
    content = encoded(picture, kind, exif=exif.tobytes() if kind != "TIFF" else exif, **options)
    with Image.open(io.BytesIO(content)) as reopened:
        expected = np.asarray(ImageOps.exif_transpose(reopened).convert("RGB"))
    image = decode(content, "x")
    assert image.shape == expected.shape == ((64, 48, 3) if orientation >= 5 else (48, 64, 3))
    assert np.abs(image.astype(int) - expected).max() <= (0 if kind != "JPEG" else 3)
    assert verify(content, "x") == image.shape[:2]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_damaged_exif_block_counts_as_no_orientation() -> None:
    content = encoded(Image.fromarray(scene()), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert decode(content, "x").shape == (48, 64, 3)
    assert verify(content, "x") == (48, 64)


def cut(content: bytes, by: int) -> bytes:
    return content[:-by]


@pytest.mark.parametrize("by", [2, 30, 600])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_refused_by_the_decoder_and_the_verification(by: int, progressive: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    thumbnail = encoded(Image.fromarray(scene()), "JPEG")
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00" + thumbnail  # holds an end marker of its own
    content = encoded(Image.fromarray(noise), "JPEG", progressive=progressive, exif=exif)
    assert verify(content, "x") == (48, 64)
    for reader in (decode, verify):
        with pytest.raises(BadFile, match="cut short"):
            reader(cut(content, by), "x")


def test_bytes_after_the_end_of_a_jpeg_are_harmless() -> None:
    content = encoded(Image.fromarray(scene()), "JPEG") + b"\0" * 100
    assert verify(content, "x") == (48, 64)
    assert decode(content, "x").shape == (48, 64, 3)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_other_kinds_cut_short_are_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    for reader in (decode, verify):
        with pytest.raises(BadFile):
            reader(content[: len(content) // 2], "x")


@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a" + b"\0" * 99]
)
def test_what_is_no_image_is_refused(content: bytes) -> None:
    for reader in (decode, verify):
        with pytest.raises(BadFile):
            reader(content, "x")


def test_an_image_below_ten_pixels_is_refused() -> None:
    with pytest.raises(BadFile, match="at least 10 px: 9x40"):
        verify(encoded(Image.new("RGB", (9, 40)), "PNG"), "x")


def test_too_many_pixels_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    for kind in ("JPEG", "PNG", "BMP"):
        content = encoded(Image.fromarray(scene()), kind)
        for reader in (decode, verify):
            with pytest.raises(BadFile, match="pixels: 64x48"):
                reader(content, "x")


def test_a_decompression_bomb_is_refused() -> None:
    header = encoded(Image.new("L", (10, 10)), "PNG")
    bomb = header[:16] + (30_000).to_bytes(4, "big") * 2 + header[24:]
    for reader in (decode, verify):
        with pytest.raises(BadFile):
            reader(bomb, "x")


@pytest.mark.parametrize("name", ["schön 图.jpg".encode(), b"caf\xe9.jpg", b"two\nlines.jpg"])
def test_any_file_name_is_read(tmp_path: Path, name: bytes) -> None:
    path = str(tmp_path / os.fsdecode(name))
    Path(path).write_bytes(encoded(Image.fromarray(scene()), "JPEG"))
    assert read_image(path).shape == (48, 64, 3)


def test_a_bad_file_is_one_line_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "bad.jpg"
    with pytest.raises(DataError, match=r"^the image cannot be read in .*bad\.jpg: No such file"):
        read_image(str(path))
    path.write_bytes(cut(encoded(Image.fromarray(scene()), "JPEG"), 20))
    with pytest.raises(DataError, match=r"cut short.*bad\.jpg") as caught:
        read_image(str(path))
    assert caught.value.exit_code == 3


def test_only_plain_eight_bit_files_take_the_fast_decoder() -> None:
    plain = Image.fromarray(scene())
    assert plain_header(encoded(plain, "JPEG")) is not None
    assert plain_header(encoded(plain, "PNG")) is not None
    for picture, kind in ((plain.convert("CMYK"), "JPEG"), (plain.quantize(8), "PNG"), (plain.convert("RGBA"), "PNG")):
        assert plain_header(encoded(picture, kind)) is None


def test_resizing_brings_the_longer_side_to_the_size_rounding_up(tmp_path: Path) -> None:
    path = str(tmp_path / "a.png")
    Path(path).write_bytes(encoded(Image.fromarray(scene(333, 500)), "PNG"))
    assert read_resized(path, 640, augmenting=False).shape == (427, 640, 3)
    assert read_resized(path, 500, augmenting=False).shape == (333, 500, 3)


@pytest.mark.parametrize(
    ("imgsz", "augmenting", "how"),
    [
        (32, True, cv2.INTER_LINEAR),
        (32, False, cv2.INTER_AREA),
        (100, True, cv2.INTER_LINEAR),
        (100, False, cv2.INTER_LINEAR),
    ],
)
def test_shrinking_averages_areas_unless_augmenting(tmp_path: Path, imgsz: int, augmenting: bool, how: int) -> None:
    path = str(tmp_path / "a.png")
    Path(path).write_bytes(encoded(Image.fromarray(scene()), "PNG"))
    image = read_resized(path, imgsz, augmenting=augmenting)
    expected = cv2.resize(scene(), (imgsz, imgsz * 48 // 64), interpolation=how)
    np.testing.assert_array_equal(image, expected)
