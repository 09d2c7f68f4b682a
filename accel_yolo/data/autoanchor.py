"""Do the anchors fit the objects, and if not, which would: k-means, then a search by mutation. Pure and seeded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from accel_yolo.data.split_index import SplitIndex

GOOD_RECALL = 0.98
"""Share of reachable objects above which anchors are kept."""
ANCHORS_PER_LEVEL = 3

_KMEANS_STARTS = 30
_KMEANS_ROUNDS = 50
_GENERATIONS = 1000
_MUTATION_SHARE = 0.9
_MUTATION_SIZE = 0.1
# More objects than this do not move the anchors, only the clock.
_SAMPLE = 20_000
_STREAM = 0xA2C402


@dataclass(frozen=True)
class AnchorFit:
    """The outcome of `fitted`.

    Attributes:
        anchors_px: [L, A, 2] float32, width and height in px at the training size, smallest level first.
        recall_before: share of objects within reach of the anchors that were there.
        per_target_before: anchors within reach of an object, mean, likewise.
        recall: share of objects within reach of `anchors_px`.
        changed: False when the old anchors were good enough or no better ones were found.
    """

    anchors_px: np.ndarray
    recall_before: float
    per_target_before: float
    recall: float
    changed: bool


def fitted(index: SplitIndex, imgsz: int, anchors_px: np.ndarray, *, seed: int, anchor_t: float) -> AnchorFit:
    """Return the given anchors if they reach more than 98 % of the objects, else new ones if those reach more.

    The sizes are jittered by up to a tenth for the comparison, as augmentation will do.

    Args:
        index: the training split.
        imgsz: longer side of a training image, px.
        anchors_px: [L, A, 2], the anchors of the model in px.
        seed: of the run; the same seed gives the same anchors on every machine.
        anchor_t: largest ratio of sides at which an anchor reaches an object.
    """
    old = np.asarray(anchors_px, np.float32)
    sizes_px = object_sizes_px(index, imgsz, jitter=_generator(seed, 0))
    before, per_target = check_anchors(sizes_px, old, anchor_t)
    if before > GOOD_RECALL or not len(sizes_px):
        return AnchorFit(old, before, per_target, before, changed=False)
    new = fit_anchors(index, imgsz, len(old), seed, anchor_t, per_level=old.shape[1])
    after, _ = check_anchors(sizes_px, new, anchor_t)
    if after <= before:
        return AnchorFit(old, before, per_target, before, changed=False)
    return AnchorFit(new, before, per_target, after, changed=True)


def object_sizes_px(index: SplitIndex, imgsz: int, *, jitter: np.random.Generator | None = None) -> np.ndarray:
    """Return width and height of every object, [m, 2] float64, px, when the longer side of its image is `imgsz`.

    Args:
        index: the split.
        imgsz: longer side, px.
        jitter: source of one factor in 0.9..1.1 for each image; None for none.
    """
    sizes_wh = index.sizes_hw[:, ::-1].astype(np.float64)
    scaled_wh = sizes_wh * (imgsz / sizes_wh.max(axis=1, keepdims=True))
    if jitter is not None:
        scaled_wh *= jitter.uniform(0.9, 1.1, (len(scaled_wh), 1))
    return index.labels[:, 3:5] * np.repeat(scaled_wh, np.diff(index.label_starts), axis=0)


def check_anchors(sizes_px: np.ndarray, anchors_px: np.ndarray, anchor_t: float) -> tuple[float, float]:
    """Return (share of objects within reach of any anchor, mean number of anchors within reach of an object).

    Args:
        sizes_px: [m, 2] width and height of the objects.
        anchors_px: [..., 2] width and height of the anchors, same unit.
        anchor_t: an anchor reaches an object when no ratio of their sides exceeds this, either way.
    """
    if not len(sizes_px):
        return 0.0, 0.0
    reached = _worst_ratio(sizes_px, anchors_px.reshape(-1, 2)) > 1 / anchor_t
    return float(reached.any(axis=1).mean()), float(reached.sum(axis=1).mean())


def fit_anchors(
    index: SplitIndex, imgsz: int, n_levels: int, seed: int, anchor_t: float, *, per_level: int = ANCHORS_PER_LEVEL
) -> np.ndarray:
    """Return anchors for the objects of a split, [L, A, 2] float32, px, sorted by area.

    k-means on sizes divided by their spread, then a thousand mutations that are kept when they fit better.
    With fewer distinct objects than anchors the search starts from random sizes.

    Args:
        index: the training split.
        imgsz: longer side of a training image, px.
        n_levels: output levels of the model.
        seed: of the run.
        anchor_t: see `check_anchors`.
        per_level: anchors of each level.
    """
    rng = _generator(seed, 1)
    every = object_sizes_px(index, imgsz)
    sizes_px = every[(every >= 2.0).any(axis=1)]
    if len(sizes_px) > _SAMPLE:
        sizes_px = sizes_px[np.sort(rng.choice(len(sizes_px), _SAMPLE, replace=False))]
    count = n_levels * per_level
    anchors_px = _by_area(_kmeans(sizes_px, count, rng, imgsz))
    if len(sizes_px):
        anchors_px = _by_area(_evolved(anchors_px, sizes_px, anchor_t, rng))
    return anchors_px.reshape(n_levels, per_level, 2).astype(np.float32)


def _generator(seed: int, purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _STREAM, purpose])))


def _worst_ratio(sizes_px: np.ndarray, anchors_px: np.ndarray) -> np.ndarray:
    """Return how alike objects and anchors are, [m, n]: the smaller side over the larger, of the worse axis."""
    # In float32 as the reference: a few objects of real data lie exactly on the limit.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = sizes_px[:, None].astype(np.float32) / anchors_px[None].astype(np.float32)
        alike = np.minimum(ratio, 1 / ratio).min(axis=2)
    return np.nan_to_num(alike, nan=0.0)


def _fitness(sizes_px: np.ndarray, anchors_px: np.ndarray, anchor_t: float) -> float:
    """Return the mean likeness of objects to their best anchor, those out of reach counted as 0."""
    best = _worst_ratio(sizes_px, anchors_px).max(axis=1)
    return float((best * (best > 1 / anchor_t)).mean())


def _by_area(anchors_px: np.ndarray) -> np.ndarray:
    return anchors_px[np.argsort(anchors_px.prod(axis=1), kind="stable")]


def _kmeans(sizes_px: np.ndarray, count: int, rng: np.random.Generator, imgsz: int) -> np.ndarray:
    """Return `count` centres, [count, 2] px: the best of several runs of Lloyd's algorithm (1982)."""
    spread = sizes_px.std(axis=0) if len(sizes_px) else np.zeros(2)
    points = sizes_px / np.where(spread > 0, spread, 1.0)
    distinct = np.unique(points, axis=0)
    if len(distinct) < count:
        return np.maximum(rng.uniform(0, 1, (count, 2)) * imgsz, 2.0)
    best, least = distinct[:count], np.inf
    for _ in range(_KMEANS_STARTS):
        start = distinct[np.sort(rng.choice(len(distinct), count, replace=False))]
        centres, distortion = _lloyd(points, start)
        if distortion < least:
            best, least = centres, distortion
    return best * np.where(spread > 0, spread, 1.0)


def _lloyd(points: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the centres after the last round and the mean squared distance of points to them."""
    distortion = np.inf
    for _ in range(_KMEANS_ROUNDS):
        distances = ((points[:, None] - centres[None]) ** 2).sum(axis=2)
        nearest = distances.argmin(axis=1)
        previous, distortion = distortion, float(distances[np.arange(len(points)), nearest].mean())
        if previous - distortion <= 1e-5 * distortion:
            break
        sums = np.stack([np.bincount(nearest, points[:, axis], len(centres)) for axis in range(2)], axis=1)
        members = np.bincount(nearest, minlength=len(centres))[:, None]
        # A centre without points stays where it is: the number of anchors is fixed.
        centres = np.where(members > 0, sums / np.maximum(members, 1), centres)
    return centres, distortion


def _evolved(anchors_px: np.ndarray, sizes_px: np.ndarray, anchor_t: float, rng: np.random.Generator) -> np.ndarray:
    """Return the anchors after a thousand random changes, each kept only if the fitness grows."""
    best = _fitness(sizes_px, anchors_px, anchor_t)
    for _ in range(_GENERATIONS):
        factors = np.ones_like(anchors_px)
        while (factors == 1).all():
            mask = rng.random(anchors_px.shape) < _MUTATION_SHARE
            change = mask * rng.random() * rng.standard_normal(anchors_px.shape) * _MUTATION_SIZE
            factors = np.clip(1 + change, 0.3, 3.0)
        candidate = np.maximum(anchors_px * factors, 2.0)
        fitness = _fitness(sizes_px, candidate, anchor_t)
        if fitness > best:
            anchors_px, best = candidate, fitness
    return anchors_px
