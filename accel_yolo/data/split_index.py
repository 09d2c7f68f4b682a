"""The index of a split: paths, sizes and labels of all its usable images in a few flat arrays."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from accel_yolo.data.formats.record import Labels

ARRAYS = ("sizes_hw", "labels", "label_starts", "polygons", "polygon_starts", "content_keys")
"""The arrays of an index."""
CONTENT_BYTES = 16
"""Length of the digest of an image file."""
KEY_BYTES = 8
"""How many of these bytes an index keeps."""


@dataclass(frozen=True)
class IndexCounts:
    """What the verification met.

    Attributes:
        images: usable images, those without objects included.
        labelled: images with at least one object.
        background: images without a label file.
        empty: images whose label file holds no object.
        dropped: images left out because the image or its labels are bad.
        duplicates_removed: label rows left out because an equal one exists.
    """

    images: int
    labelled: int
    background: int
    empty: int
    dropped: int
    duplicates_removed: int


@dataclass(frozen=True)
class Record:
    """One verified image.

    Attributes:
        path: absolute path.
        size_hw: (height, width) as displayed, px.
        labels: its objects.
        has_label_file: False for a background image without a file.
        content_digest: digest of the bytes of the image file.
    """

    path: str
    size_hw: tuple[int, int]
    labels: Labels
    has_label_file: bool
    content_digest: bytes


@dataclass(frozen=True)
class SplitIndex:
    """All usable images of a split; the arrays are read-only.

    Attributes:
        paths: absolute paths, sorted as text.
        sizes_hw: [n, 2] int32, (height, width) in px as displayed (EXIF orientation applied).
        labels: [m, 5] float32: class, cx, cy, w, h (0..1 of the displayed image).
        label_starts: [n + 1] int64; the labels of image i are rows label_starts[i] to label_starts[i + 1].
        polygons: [k, 2] float32: x, y (0..1), the vertices of all labels one after the other.
        polygon_starts: [m + 1] int64; the vertices of label row j likewise; none for a plain box.
        content_keys: [n] uint64, the first eight bytes of the digest of each image file.
        digest: SHA-256 over the above and the content of the images, paths relative: equal data, equal digest.
        counts: what the verification met.
    """

    paths: tuple[str, ...]
    sizes_hw: np.ndarray
    labels: np.ndarray
    label_starts: np.ndarray
    polygons: np.ndarray
    polygon_starts: np.ndarray
    content_keys: np.ndarray
    digest: str
    counts: IndexCounts

    def __post_init__(self) -> None:
        for name in ARRAYS:
            getattr(self, name).setflags(write=False)

    def __len__(self) -> int:
        return len(self.paths)

    def annotated(self, images: Iterable[int]) -> dict[str, list[list[float]]]:
        """Return the files of images by their numbers, each with the rows of its labels, see `labels_of`."""
        return {self.paths[image]: self.labels_of(image).tolist() for image in images}

    def labels_of(self, image: int) -> np.ndarray:
        """Return the labels of one image, [k, 5] float32: class, cx, cy, w, h (0..1); a read-only view."""
        return self.labels[self.label_starts[image] : self.label_starts[image + 1]]

    def labels_px(self) -> np.ndarray:
        """Return all labels in px of their images, [m, 6] float64: image, class, x1, y1, x2, y2; image by image."""
        image = np.repeat(np.arange(len(self)), np.diff(self.label_starts))
        scale = self.sizes_hw[image][:, ::-1].astype(np.float64)
        labels = self.labels.astype(np.float64)
        centre, half = labels[:, 1:3], labels[:, 3:5] / 2
        return np.column_stack((image, labels[:, 0], (centre - half) * scale, (centre + half) * scale))

    def polygons_of(self, image: int) -> list[np.ndarray]:
        """Return one [p, 2] float32 array of vertices x, y (0..1) for each label of the image; p = 0 for a box."""
        rows = range(int(self.label_starts[image]), int(self.label_starts[image + 1]))
        return [self.polygons[self.polygon_starts[row] : self.polygon_starts[row + 1]] for row in rows]


@dataclass(frozen=True)
class Part:
    """Some verified images, in flat arrays; see `SplitIndex` for those without a text here.

    Attributes:
        paths: absolute paths.
        sizes_hw: [n, 2] int32.
        label_counts: [n] int64, how many labels each image has.
        labels: [m, 5] float32.
        polygon_lengths: [m] int64, how many vertices each label has.
        polygons: [k, 2] float32.
        has_label_file: [n] bool.
        content_digests: [n, 16] uint8, the XXH3 of each image file: it tells copies apart, not forgeries.
        duplicates_removed: label rows left out.
    """

    paths: tuple[str, ...]
    sizes_hw: np.ndarray
    label_counts: np.ndarray
    labels: np.ndarray
    polygon_lengths: np.ndarray
    polygons: np.ndarray
    has_label_file: np.ndarray
    content_digests: np.ndarray
    duplicates_removed: int


def part_of(records: Sequence[Record]) -> Part:
    """Return some images in flat arrays."""
    polygons = [polygon for record in records for polygon in record.labels.polygons]
    digests = b"".join(record.content_digest for record in records)
    return Part(
        paths=tuple(record.path for record in records),
        sizes_hw=np.array([record.size_hw for record in records], np.int32).reshape(-1, 2),
        label_counts=np.array([len(record.labels.rows) for record in records], np.int64),
        labels=np.concatenate([np.zeros((0, 5), np.float32), *(record.labels.rows for record in records)]),
        polygon_lengths=np.array(list(map(len, polygons)), np.int64),
        polygons=np.concatenate([np.zeros((0, 2), np.float32), *(polygon for polygon in polygons if len(polygon))]),
        has_label_file=np.array([record.has_label_file for record in records], np.bool_),
        content_digests=np.frombuffer(digests, np.uint8).reshape(-1, CONTENT_BYTES),
        duplicates_removed=sum(record.labels.duplicates_removed for record in records),
    )


def assemble(parts: Sequence[Part], root: str, *, dropped: int) -> SplitIndex:
    """Return the index of the images of `parts`, whose order is kept.

    Args:
        parts: the usable images.
        root: folder of the data set; the digest sees paths relative to it.
        dropped: how many images were left out.
    """
    parts = [part_of([]), *parts]
    label_counts = np.concatenate([part.label_counts for part in parts])
    has_label_file = np.concatenate([part.has_label_file for part in parts])
    contents = np.concatenate([part.content_digests for part in parts])
    arrays = {
        "sizes_hw": np.concatenate([part.sizes_hw for part in parts]),
        "labels": np.concatenate([part.labels for part in parts]),
        "label_starts": _starts(label_counts),
        "polygons": np.concatenate([part.polygons for part in parts]),
        "polygon_starts": _starts(np.concatenate([part.polygon_lengths for part in parts])),
    }
    paths = tuple(path for part in parts for path in part.paths)
    counts = IndexCounts(
        images=len(paths),
        labelled=int((label_counts > 0).sum()),
        background=int((~has_label_file).sum()),
        empty=int((has_label_file & (label_counts == 0)).sum()),
        dropped=dropped,
        duplicates_removed=sum(part.duplicates_removed for part in parts),
    )
    digest = _digest(relative_paths(paths, root), contents, list(arrays.values()))
    keys = np.ascontiguousarray(contents[:, :8]).view("<u8")[:, 0].astype(np.uint64)
    return SplitIndex(paths=paths, content_keys=keys, digest=digest, counts=counts, **arrays)


def _starts(lengths: np.ndarray) -> np.ndarray:
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def relative_paths(paths: Sequence[str], root: str) -> list[str]:
    """Return the paths below `root`, those outside it below what they have in common."""
    prefix = os.path.abspath(root).rstrip(os.sep) + os.sep  # noqa: PTH100 - links are kept in the paths as well
    outside = [os.path.dirname(path) for path in paths if not path.startswith(prefix)]  # noqa: PTH120
    common = os.path.commonpath(outside) if outside else ""
    return [path.removeprefix(prefix) if path.startswith(prefix) else os.path.relpath(path, common) for path in paths]


def _digest(relative_paths: Sequence[str], contents: np.ndarray, arrays: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for path, content in zip(relative_paths, contents, strict=True):
        digest.update(os.fsencode(path) + b"\0" + content.tobytes())
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
