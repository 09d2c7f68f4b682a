"""Parts of an index, and several as one: some images, some classes, a share of them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from accel_yolo.data.order import Stream, generator
from accel_yolo.data.split_index import SplitIndex


def some_images(index: SplitIndex, images: np.ndarray) -> SplitIndex:
    """Return the index of some images, int [n], in the order given; an image may come several times."""
    images = np.asarray(images, np.int64)
    counts = np.diff(index.label_starts)[images]
    rows = _runs(index.label_starts[images], counts)
    corners = np.diff(index.polygon_starts)[rows]
    return _derived(
        index,
        f"images {hashlib.sha256(images.tobytes()).hexdigest()}",
        paths=tuple(index.paths[image] for image in images.tolist()),
        sizes_hw=index.sizes_hw[images],
        labels=index.labels[rows],
        label_starts=_starts(counts),
        polygons=index.polygons[_runs(index.polygon_starts[rows], corners)],
        polygon_starts=_starts(corners),
        content_keys=index.content_keys[images],
    )


def some_classes(index: SplitIndex, numbers: Sequence[int | None]) -> SplitIndex:
    """Return the index with other class numbers; objects whose class has none are left out, images are not.

    Args:
        index: all objects.
        numbers: for each class its new number, or None.
    """
    table = np.array([-1 if number is None else number for number in numbers], np.int64)
    classes = table[index.labels[:, 0].astype(np.int64)]
    kept = np.flatnonzero(classes >= 0)
    image_of = np.repeat(np.arange(len(index)), np.diff(index.label_starts))[kept]
    corners = np.diff(index.polygon_starts)[kept]
    return _derived(
        index,
        f"classes {table.tolist()}",
        labels=np.column_stack((classes[kept], index.labels[kept, 1:])).astype(np.float32),
        label_starts=np.searchsorted(image_of, np.arange(len(index) + 1)).astype(np.int64),
        polygons=index.polygons[_runs(index.polygon_starts[kept], corners)],
        polygon_starts=_starts(corners),
    )


def some_share(index: SplitIndex, share: float, seed: int) -> SplitIndex:
    """Return a share of the images, at least one, drawn by the seed; their order is kept."""
    if share >= 1:
        return index
    count = max(round(share * len(index)), 1)
    drawn = generator(seed, 0, 0, Stream.FRACTION).permutation(len(index))[:count]
    return some_images(index, np.sort(drawn))


def joined(indices: Sequence[SplitIndex]) -> SplitIndex:
    """Return several indices as one, one after the other; their classes are numbered alike."""
    first, *others = indices
    if not others:
        return first
    digest = hashlib.sha256("".join(index.digest for index in indices).encode()).hexdigest()
    counts = {name: sum(getattr(index.counts, name) for index in indices) for name in first.counts.__dataclass_fields__}
    return SplitIndex(
        paths=tuple(path for index in indices for path in index.paths),
        sizes_hw=np.concatenate([index.sizes_hw for index in indices]),
        labels=np.concatenate([index.labels for index in indices]),
        label_starts=_starts(np.concatenate([np.diff(index.label_starts) for index in indices])),
        polygons=np.concatenate([index.polygons for index in indices]),
        polygon_starts=_starts(np.concatenate([np.diff(index.polygon_starts) for index in indices])),
        content_keys=np.concatenate([index.content_keys for index in indices]),
        digest=digest,
        counts=type(first.counts)(**counts),
    )


def _derived(index: SplitIndex, change: str, **arrays: object) -> SplitIndex:
    digest = hashlib.sha256(f"{index.digest} {change}".encode()).hexdigest()
    found = replace(index, digest=digest, **arrays)  # pyright: ignore[reportArgumentType]
    labelled = int((np.diff(found.label_starts) > 0).sum())
    # Of the images without objects it is not known here which have a label file.
    counts = replace(index.counts, images=len(found), labelled=labelled, background=len(found) - labelled, empty=0)
    return replace(found, counts=counts)


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)


def _runs(firsts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the numbers first, first + 1, ... of runs of some lengths, one run after the other."""
    ends = np.cumsum(counts)
    return np.repeat(firsts - (ends - counts), counts) + np.arange(int(ends[-1]) if len(ends) else 0)
