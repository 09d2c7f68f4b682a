"""One cache of images per machine: resized pixels packed into a file that all processes read through the page cache.

A process keeps no pixels: what it reads lies once in the memory of the machine, as far as there is room, whoever reads
it. Another state of the images, another size or another version of the decoder gives another file; older ones stay,
because a run may be reading them, and are named when a new one is written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import xxhash

from accel_yolo import console, files
from accel_yolo.data import whereabouts
from accel_yolo.data.images import ALL_ROWS, Load, read_resized
from accel_yolo.data.packed_file import Damaged, Layout, Reader, check_pixels, read_checksums, read_digest, write
from accel_yolo.data.room import amount, free_disk_bytes, free_memory_bytes
from accel_yolo.data.split_index import KEY_BYTES, SplitIndex
from accel_yolo.errors import DataError, EnvironmentFault, printable
from accel_yolo.letterbox import resized_hw

_ELSEWHERE = "name another folder with --cache-dir, or leave --cache out"
_MOST_THREADS = 16


@dataclass(frozen=True)
class DecodedImages:
    """The images of a split, decoded each time; called with the number of an image, see `images.read_resized`."""

    index: SplitIndex
    imgsz: int
    augmenting: bool

    def __call__(self, image: int, rows: slice = ALL_ROWS) -> np.ndarray:
        """Return rows of the image, RGB uint8 [rows, w, 3]. Raises DataError."""
        path = self.index.paths[image]
        try:
            look = partial(self._compare, image)
            pixels = read_resized(path, self.imgsz, augmenting=self.augmenting, look=look)
        except DataError as error:
            raise DataError(error.what, error.where, error.value, self._remedy(image)) from None
        height, width = self.index.sizes_hw[image].tolist()
        if pixels.shape[:2] != resized_hw((height, width), self.imgsz):
            what = "the image changed its size since the data set was verified"
            value = f"from {width}x{height}, now {pixels.shape[1]}x{pixels.shape[0]} when scaled to {self.imgsz}"
            raise DataError(what, printable(path), value, self._remedy(image))
        return pixels[rows]

    def _compare(self, image: int, content: bytes) -> None:
        """Tell of a file that is not the one that was verified; its digest costs a thousandth of decoding it."""
        if not self._is_verified(image, content):
            whereabouts.tell_change(self.index.paths[image])

    def _is_verified(self, image: int, content: bytes) -> bool:
        return xxhash.xxh3_128_digest(content)[:KEY_BYTES] == self.index.content_keys[image].tobytes()

    def _remedy(self, image: int) -> str:
        """Return what to do about an image that was good when the data set was verified, and is not any more."""
        path = self.index.paths[image]
        if not os.path.exists(path):  # noqa: PTH110 - any name
            return "it was there when the data set was verified: put it back, and a training goes on with --resume"
        try:
            content = Path(path).read_bytes() if os.path.isfile(path) else b""  # noqa: PTH113
        except OSError:
            return "look after the disk or the network it lies on; then a training goes on with --resume"
        if not self._is_verified(image, content):
            return "replace the file: it is not what it was when the data set was verified"
        return "replace the file, or leave it out"


@dataclass(frozen=True)
class ChosenImages:
    """Some images of another source, or the same ones several times: image i is image `numbers[i]` of that one."""

    source: Load
    numbers: np.ndarray

    def __call__(self, image: int, rows: slice = ALL_ROWS) -> np.ndarray:
        """Return rows of the image, RGB uint8 [rows, w, 3]. Raises as the source does."""
        return self.source(int(self.numbers[image]), rows)


class PackedImages:
    """The same images from a packed file, bit for bit.

    Threads may share one. What goes to another process is the place of the file and of the images in it; the process
    opens it when it reads the first image.

    Args:
        file: the packed file.
        layout: what is in it and where.
        digest: digest in its head.
    """

    def __init__(self, file: Path, layout: Layout, digest: bytes) -> None:
        self.file, self.layout, self.digest = file, layout, digest
        self._reader: Reader | None = None

    def __len__(self) -> int:
        return len(self.layout.offsets)

    def __call__(self, image: int, rows: slice = ALL_ROWS) -> np.ndarray:
        """Return rows of the image, RGB uint8 [rows, w, 3], read alone; the array is the caller's.

        Raises:
            EnvironmentFault: the file changed or disappeared since the run began, or cannot be read.
        """
        try:
            reader = self._reader or self._opened()
            height, width = self.layout.shapes_hw[image].tolist()
            begin, end, _ = rows.indices(height)
            return reader.image(int(self.layout.offsets[image]) + begin * width * 3, end - begin, width)
        except Damaged as damage:
            raise EnvironmentFault(
                "the image cache changed during the run", self._where, damage, "start again"
            ) from None
        except OSError as error:
            reason = error.strerror or error
            raise EnvironmentFault("cannot read the image cache", self._where, reason, "start again") from error

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_reader": None}

    @property
    def _where(self) -> str:
        return printable(str(self.file))

    def _opened(self) -> Reader:
        # Threads that get here together open it each for themselves; all but one of these are closed again.
        reader = Reader(self.file)
        if read_digest(reader) != self.digest or reader.size_bytes != self.layout.file_bytes:
            raise Damaged("it is another file now")
        self._reader = reader
        return reader


@dataclass(frozen=True)
class Packing:
    """Images of a split that are to be read from a packed file.

    Attributes:
        index: the split.
        imgsz: longer side of an image, px.
        augmenting: see `images.read_resized`.
        layout: where the images lie in the file.
        file: the file; it need not be there yet.
    """

    index: SplitIndex
    imgsz: int
    augmenting: bool
    layout: Layout
    file: Path

    @classmethod
    def of(cls, index: SplitIndex, imgsz: int, *, augmenting: bool, folder: Path) -> Packing:
        """Return the packing of a split in a folder."""
        layout = Layout.plan(index, imgsz, augmenting=augmenting)
        file = folder.expanduser().absolute() / f"{layout.key[:32]}.images"
        return cls(index, imgsz, augmenting, layout, file)

    def open(self, workers: int) -> PackedImages:
        """Return the images; a file that is missing or damaged is written first, by one process of the machine.

        Args:
            workers: threads that check or make the file.

        Raises:
            DataError: an image cannot be read.
            EnvironmentFault: the file cannot be written.
        """
        threads = max(1, min(workers, os.cpu_count() or 1, _MOST_THREADS))
        with contextlib.suppress(FileNotFoundError, Damaged):
            return self._existing(threads)
        with _one_builder(self.file):
            try:
                return self._existing(threads)
            except FileNotFoundError:
                pass
            except Damaged as damage:
                console.warn(f"the image cache is made anew: {damage}: {printable(str(self.file))}")
                self.file.unlink(missing_ok=True)
            self._write(threads)
            return self._existing(threads)

    def _existing(self, threads: int) -> PackedImages:
        """Return the images of a file that is there and right.

        Raises:
            FileNotFoundError: there is none.
            Damaged: it is not right.
            EnvironmentFault: it cannot be read.
        """
        try:
            reader = Reader(self.file)
            read_checksums(reader, self.layout)
            state = _state_of(self.file)
            if _kept_state(self.file) != state:
                check_pixels(reader, self.layout, threads)
                _keep_state(self.file, state)
            return PackedImages(self.file, self.layout, read_digest(reader))
        except FileNotFoundError:
            raise
        except OSError as error:
            where, reason = printable(str(self.file)), error.strerror or error
            raise EnvironmentFault("cannot read the image cache", where, reason, _ELSEWHERE) from error

    def _write(self, threads: int) -> None:
        others = [path for path in self.file.parent.glob("*.images") if path != self.file]
        if others:
            size = amount(sum(path.stat().st_size for path in others if path.exists()))
            console.note(
                f"{len(others)} image caches of other data, sizes or versions ({size}) are in "
                f"{printable(str(self.file.parent))}: remove what you no longer need"
            )
        require_room([self])
        images = DecodedImages(self.index, self.imgsz, self.augmenting)
        write(self.file, self.layout, images, threads, f"packing images at {self.imgsz} px")
        _keep_state(self.file, _state_of(self.file))


def require_room(packings: Sequence[Packing]) -> None:
    """Make sure that the files which are not there yet fit on the disk; all lie in one folder.

    Raises:
        EnvironmentFault: they do not.
    """
    missing = {packing.file: packing.layout.file_bytes for packing in packings if not packing.file.exists()}
    if not missing:
        return
    folder, needed = packings[0].file.parent, sum(missing.values())
    free = free_disk_bytes(folder)
    if 0 <= free < needed:
        amounts = f"{amount(needed)} needed, {amount(free)} free"
        raise EnvironmentFault("too little disk space for the image cache", printable(str(folder)), amounts, _ELSEWHERE)


def warn_of_memory(packings: Sequence[Packing]) -> None:
    """Warn when the files together do not fit in memory, so that the page cache cannot keep them."""
    needed = sum({packing.file: packing.layout.file_bytes for packing in packings}.values())
    free = free_memory_bytes()
    if 0 <= free < needed:
        console.warn(
            f"the image cache has {amount(needed)}, but {amount(free)} of memory are free: "
            "what does not fit is read from the disk again and again"
        )


@contextlib.contextmanager
def _one_builder(file: Path) -> Iterator[None]:
    """Hold the right to write a file; whoever comes second waits."""
    lock = file.with_suffix(".lock")
    with contextlib.ExitStack() as held:
        try:
            try:
                held.enter_context(files.locked(lock, timeout_s=1.0))
            except EnvironmentFault:
                console.note(f"another process makes the image cache {printable(str(file))}; waiting for it")
                held.enter_context(files.locked(lock))
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or error
            where = printable(str(file.parent))
            raise EnvironmentFault("cannot write the image cache", where, reason, _ELSEWHERE) from error
        yield


# Checking all pixels reads the whole file. It is done once after each start of the machine, and again when the file
# was touched: what the page cache holds since then is what was checked.


def _state_of(file: Path) -> str:
    """Return what changes when a file is written or replaced, and when the machine starts."""
    found = file.stat()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not on Linux
        boot = str(round(psutil.boot_time()))
    parts = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, boot)
    return " ".join(map(str, parts))


def _kept_state(file: Path) -> str:
    """Return the state in which all pixels were right; "" when that is not known."""
    try:
        return file.with_suffix(".checked").read_text()
    except (OSError, ValueError):
        return ""


def _keep_state(file: Path, state: str) -> None:
    with contextlib.suppress(EnvironmentFault):  # a folder that cannot be written: it is checked each time
        files.write_text_atomic(file.with_suffix(".checked"), state)
