"""Decode images from bytes to RGB uint8, the same whatever the kind of file.

One rule for each kind: grey is repeated on three channels; 16 bits keep the high byte (scaled, not cut); numbers in
floating point are taken as 0..1; a palette is looked up; alpha is laid over white; CMYK is converted; of an animation
the first frame counts; the EXIF orientation is applied to every kind. OpenCV reads what it reads right and fast (8-bit
grey or RGB in JPEG and PNG); all else goes through Pillow. Paths never reach OpenCV: it fails on names that are not
UTF-8.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import time
import warnings
from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np
from PIL import (
    BmpImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from accel_yolo.data import whereabouts
from accel_yolo.data.image_header import Header, orientation_of, oriented_hw, plain_header
from accel_yolo.data.png_rows import holds_all_rows
from accel_yolo.data.problems import BadFile, Problem
from accel_yolo.data.whole_image import whole_header
from accel_yolo.errors import DataError, printable
from accel_yolo.files import check_size
from accel_yolo.letterbox import resized_hw

ALL_ROWS = slice(None)


class Load(Protocol):
    """Gives images by their numbers."""

    def __call__(self, image: int, rows: slice = ALL_ROWS, /) -> np.ndarray:
        """Return rows of an image, RGB uint8 [rows, w, 3], longer side of the whole at some image size.

        Who calls it reads the array and never changes it. Raises DataError.
        """
        ...


MAX_PIXELS, MAX_IMAGE_BYTES = 100_000_000, 1 << 30
"""Images with more are not decoded, and files with more not read: the largest image has less in any kind."""
MIN_SIDE_PX = 10

PAUSES_S = (0.1, 0.3, 1.0)
"""Waits before an image that was there is tried again: network file systems fail for moments."""
_PASSING = frozenset(
    getattr(errno, name)
    for name in ("EIO", "ESTALE", "ENOENT", "EAGAIN", "EBUSY", "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN", "ECONNRESET")
    if hasattr(errno, name)
)

# Only these of Pillow's many readers are ever tried; that of JPEG also reads MPO, TIFF: DNG, PPM: PFM.
_KINDS = tuple(
    str(reader.format)
    for reader in (
        BmpImagePlugin.BmpImageFile,
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        PpmImagePlugin.PpmImageFile,
        TiffImagePlugin.TiffImageFile,
        WebPImagePlugin.WebPImageFile,
    )
)
_END_OF_JPEG = b"\xff\xd9"
_DECODE_FAULTS = (OSError, ValueError, SyntaxError, IndexError, KeyError, TypeError, EOFError, MemoryError)

# MAX_PIXELS is our limit, an error that names the file; Pillow's lower warning would only add noise. So would its
# remark on a damaged EXIF block, which names no file; such a block counts as none.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", message="Corrupt EXIF data", category=UserWarning)


def read_image(path: str, *, patient: bool = False, look: Callable[[bytes], None] | None = None) -> np.ndarray:
    """Return the image as displayed, uint8 [H, W, 3], RGB.

    Args:
        path: any path the system can open, names that are not UTF-8 included.
        patient: the file was there before: try again a few times when it cannot be read.
        look: is shown the content of the file before it is decoded.

    Raises:
        DataError: the file is missing, damaged, cut short, too large or not an image.
    """
    try:
        content = _read_patiently(path) if patient else _read(path)
        if look is not None:
            look(content)
        return decode(content, path)
    except BadFile as bad:
        problem = bad.problem
        raise DataError(
            problem.rule, printable(path), problem.value or None, "replace the file, or leave it out"
        ) from None


def read_resized(path: str, imgsz: int, *, augmenting: bool, look: Callable[[bytes], None] | None = None) -> np.ndarray:
    """Return the image with its longer side at `imgsz` px (`letterbox.resized_hw`), uint8 [h, w, 3], RGB.

    Args:
        path: see `read_image`.
        imgsz: longer side wished for, px.
        augmenting: bilinear always; otherwise shrinking averages areas, as the reference's validation does.
        look: see `read_image`.

    Raises:
        DataError: as `read_image`.
    """
    image = read_image(path, patient=True, look=look)
    source_hw = image.shape[0], image.shape[1]
    height, width = resized_hw(source_hw, imgsz)
    if (height, width) == source_hw:
        return image
    enlarging = imgsz > max(source_hw)
    how = cv2.INTER_LINEAR if augmenting or enlarging else cv2.INTER_AREA
    return cv2.resize(image, (width, height), interpolation=how)


def decode(content: bytes, path: str) -> np.ndarray:
    """Return the image in `content` as displayed, uint8 [H, W, 3], RGB.

    Raises:
        BadFile: the content is no image, cut short or too large.
    """
    header = plain_header(content)
    if header is None:
        return _decode_carefully(content, path)
    _check_size(header.size_hw, path)
    _check_ends(content, header, path)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        bgr = None
    if bgr is None:
        if not header.scan_start and not holds_all_rows(content):
            raise BadFile(Problem(path, 0, f"{len(content)} bytes", "the PNG holds fewer rows than its header says"))
        return _decode_carefully(content, path)
    return _oriented(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), header.orientation)


def verify(content: bytes, path: str) -> tuple[int, int]:
    """Return (height, width) as displayed of a file that is whole.

    A JPEG or PNG whose markers, tables and checksums are all in place is not decoded; anything else is, strictly and
    in full (a JPEG at an eighth: faster, as strict).

    Raises:
        BadFile: what is wrong with the file.
    """
    whole = whole_header(content, MAX_PIXELS)
    if whole is not None and min(whole.size_hw) >= MIN_SIDE_PX:
        return oriented_hw(whole.size_hw, whole.orientation)
    header = plain_header(content)
    if header is not None:
        _check_size(header.size_hw, path)
        _check_ends(content, header, path)
    with _opened(content, path) as image:
        stored_hw = image.height, image.width
        _check_size(stored_hw, path)
        if min(stored_hw) < MIN_SIDE_PX:
            value = f"{image.width}x{image.height}"
            raise BadFile(Problem(path, 0, value, f"both sides must have at least {MIN_SIDE_PX} px"))
        is_scaled = image.draft(image.mode, (max(image.width // 8, 1), max(image.height // 8, 1))) is not None
        _load(image, path)
        if image.format == "PNG" and not holds_all_rows(content):
            raise BadFile(Problem(path, 0, f"{len(content)} bytes", "the PNG holds fewer rows than its header says"))
        # Loading a TIFF turns it, so its size counts afterwards; a JPEG read at a fraction keeps the one before.
        return oriented_hw(stored_hw if is_scaled else (image.height, image.width), _orientation(image))


def _read(path: str, tried: str = "") -> bytes:
    try:
        return _content(path)
    except OSError as error:
        raise BadFile(Problem(path, 0, f"{error.strerror}{tried}", "the image cannot be read")) from error


def _read_patiently(path: str) -> bytes:
    for pause in PAUSES_S:
        try:
            return _content(path)
        except OSError as error:
            if error.errno not in _PASSING:
                return _read(path)
        time.sleep(pause)
    return _read(path, f", tried {len(PAUSES_S) + 1} times")


def _content(path: str) -> bytes:
    whereabouts.note(path)
    # Without waiting: a pipe may have taken the place of an image, and nobody may ever write to it.
    with open(path, "rb", buffering=0, opener=_without_waiting) as file:  # noqa: PTH123
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        check_size(state.st_size, MAX_IMAGE_BYTES, path)
        return file.readall()


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_size(size_hw: tuple[int, int], path: str) -> None:
    if size_hw[0] * size_hw[1] > MAX_PIXELS:
        value = f"{size_hw[1]}x{size_hw[0]}"
        raise BadFile(Problem(path, 0, value, f"the image has more than {MAX_PIXELS // 1_000_000} million pixels"))


def _check_ends(content: bytes, header: Header, path: str) -> None:
    # OpenCV fills a cut JPEG with grey and says nothing. Compressed data never hold the end marker: FF is stuffed.
    if header.scan_start and content.rfind(_END_OF_JPEG) < header.scan_start:
        raise BadFile(Problem(path, 0, f"{len(content)} bytes", "the JPEG is cut short (no end marker)"))


def _opened(content: bytes, path: str) -> Image.Image:
    if not content:
        raise BadFile(Problem(path, 0, "0 bytes", "the image file is empty"))
    try:
        return Image.open(io.BytesIO(content), formats=_KINDS)
    except UnidentifiedImageError:
        raise BadFile(Problem(path, 0, _first_bytes(content), "not an image of a supported kind")) from None
    except Image.DecompressionBombError:
        rule = f"the image has more than {MAX_PIXELS // 1_000_000} million pixels"
        raise BadFile(Problem(path, 0, "", rule)) from None
    except _DECODE_FAULTS as error:
        raise BadFile(Problem(path, 0, str(error), "the image is damaged")) from None


def _load(image: Image.Image, path: str) -> None:
    try:
        image.load()
    except _DECODE_FAULTS as error:
        raise BadFile(Problem(path, 0, str(error), "the image is damaged or cut short")) from None


def _first_bytes(content: bytes) -> str:
    return f"begins with {content[:12]!r}"


def _orientation(image: Image.Image) -> int:
    """Return the orientation that is left to apply to a loaded image (the block of a TIFF is used up by loading)."""
    if image.format == "TIFF":
        value = image.getexif().get(0x0112, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1
    return orientation_of(image.info.get("exif"))


def _decode_carefully(content: bytes, path: str) -> np.ndarray:
    with _opened(content, path) as image:
        _check_size((image.height, image.width), path)
        _load(image, path)
        return _oriented(pillow_to_rgb(image), _orientation(image))


def pillow_to_rgb(image: Image.Image) -> np.ndarray:
    """Return uint8 [H, W, 3] of a loaded image of any mode; the rules are those of the module."""
    if image.mode.startswith("I"):  # I;16, I;16B, I: one channel of 16 bits (in I: kept in 32)
        grey = (np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        unit = np.nan_to_num(np.asarray(image, np.float32), nan=0.0).clip(0, 1)
        return np.repeat(np.rint(unit * 255).astype(np.uint8)[..., None], 3, axis=2)
    has_alpha = image.mode in ("RGBA", "LA", "La", "PA", "RGBa") or "transparency" in image.info
    if not has_alpha:
        return np.ascontiguousarray(image.convert("RGB"))
    layered = np.asarray(image.convert("RGBA"), np.uint16)
    colour, alpha = layered[..., :3], layered[..., 3:]
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _oriented(image: np.ndarray, orientation: int) -> np.ndarray:
    """Return the image turned and mirrored as EXIF orientation 1..8 asks."""
    if orientation == 1:
        return image
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
