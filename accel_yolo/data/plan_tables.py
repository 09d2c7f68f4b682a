"""Plans as small tables of numbers: all that a device needs to render a batch from images it holds.

A scene without a canvas is one *composition* of tiles. One with a canvas is a composition of the canvas, with a grey
border of a pixel around it, and a *warp* of that. Flips are part of where pixels are looked up, never a pass of their
own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accel_yolo.data.plan import SamplePlan, Scene
from accel_yolo.data.samples import NO_GAINS
from accel_yolo.errors import ConfigError

TILES = 4
"""Most tiles of a scene."""

CHUNK_PIXELS = 4_000_000
"""Pixels that are rendered at once: the device keeps up to about 100 bytes for each while it does."""


@dataclass(frozen=True, eq=False)
class SceneRow:
    """One scene.

    Attributes:
        canvas_hw: what is composed, px: the output, or the canvas with its border.
        tiles: int32 [TILES, 9]: number of the image, canvas_xyxy, source_xyxy, px; empty rectangles for no tile.
        flips: int32 [2]: whether the composition is flipped (up-down, left-right).
        to_canvas: float32 [3, 3], output px (flips undone) to px of the bordered canvas; None without a warp.
    """

    canvas_hw: tuple[int, int]
    tiles: np.ndarray
    flips: np.ndarray
    to_canvas: np.ndarray | None


@dataclass(frozen=True, eq=False)
class SampleRow:
    """One sample: its scenes (the second one is mixed in), the weight of the first, and its colour gains."""

    scenes: tuple[SceneRow, ...]
    ratio: float
    gains: tuple[float, float, float] | None


@dataclass(frozen=True, eq=False)
class SceneGroup:
    """Scenes whose compositions have one size, filled up with empty scenes to whole chunks.

    Attributes:
        canvas_hw: what is composed, px.
        chunk: scenes that are rendered at once; `len(tiles)` is a multiple of it.
        tiles: int32 [n, TILES, 9], see `SceneRow`.
        flips: int32 [n, 2].
        to_canvas: float32 [n, 3, 3]; None without a warp.
    """

    canvas_hw: tuple[int, int]
    chunk: int
    tiles: np.ndarray
    flips: np.ndarray
    to_canvas: np.ndarray | None


@dataclass(frozen=True, eq=False)
class BatchTables:
    """One batch of B samples.

    Attributes:
        out_hw: size of the samples, px.
        groups: all scenes, one group after another.
        places: int64 [2, B], where among all scenes a sample's first and second scene are (the first one again when
            nothing is mixed in).
        ratios: float32 [B], weight of the first scene; None when no sample is mixed.
        gains: float32 [B, 3], colour gains, 1 for no change; None when no colour changes.
    """

    out_hw: tuple[int, int]
    groups: tuple[SceneGroup, ...]
    places: np.ndarray
    ratios: np.ndarray | None
    gains: np.ndarray | None


def no_copies() -> ConfigError:
    """Return the error about a recipe that copies objects."""
    remedy = "use --cache without 'device', or copy_paste: 0 in --hyp"
    return ConfigError("copy-paste needs outlines, which the device does not draw", "--cache", "device", remedy)


def sample_row(plan: SamplePlan) -> SampleRow:
    """Return the numbers of one sample.

    Raises:
        ConfigError: the plan copies objects, which needs outlines.
    """
    scenes = (plan.scene,) if plan.mixup is None else (plan.scene, plan.mixup.scene)
    flips = plan.flip_ud, plan.flip_lr
    ratio = 1.0 if plan.mixup is None else plan.mixup.ratio
    return SampleRow(tuple(_scene_row(scene, flips) for scene in scenes), ratio, plan.hsv_gains)


def batch_tables(rows: Sequence[SampleRow], out_hw: tuple[int, int]) -> BatchTables:
    """Return samples of one size as a batch.

    Args:
        rows: B samples.
        out_hw: their size, px.
    """
    kinds: dict[tuple[tuple[int, int], bool], list[tuple[int, int, SceneRow]]] = {}
    for sample, row in enumerate(rows):
        for number, scene in enumerate(row.scenes):
            key = scene.canvas_hw, scene.to_canvas is not None
            kinds.setdefault(key, []).append((number, sample, scene))
    places, begin, groups = np.full((2, len(rows)), -1, dtype=np.int64), 0, []
    for members in kinds.values():
        for place, (number, sample, _) in enumerate(members):
            places[number, sample] = begin + place
        group = _group([scene for _, _, scene in members], len(rows))
        groups.append(group)
        begin += len(group.tiles)
    places[1] = np.where(places[1] < 0, places[0], places[1])
    is_mixed = any(len(row.scenes) > 1 for row in rows)
    ratios = np.array([row.ratio for row in rows], dtype=np.float32) if is_mixed else None
    gains = None
    if any(row.gains is not None for row in rows):
        gains = np.array([row.gains or NO_GAINS for row in rows], dtype=np.float32)
    return BatchTables(out_hw, tuple(groups), places, ratios, gains)


def _scene_row(scene: Scene, flips: tuple[bool, bool]) -> SceneRow:
    if scene.copy_paste is not None:
        raise no_copies()
    tiles = np.zeros((TILES, 9), dtype=np.int32)
    for place, tile in enumerate(scene.tiles):
        tiles[place] = (tile.index, *tile.canvas_xyxy, *tile.source_xyxy)
    if not scene.is_warped:
        return SceneRow(scene.out_hw, tiles, np.array(flips, dtype=np.int32), None)
    tiles[: len(scene.tiles), 1:5] += 1
    height, width = scene.canvas_hw
    return SceneRow((height + 2, width + 2), tiles, np.zeros(2, dtype=np.int32), _to_bordered_canvas(scene, flips))


def _to_bordered_canvas(scene: Scene, flips: tuple[bool, bool]) -> np.ndarray:
    unflip, border = np.eye(3), np.eye(3)
    for axis, flipped in ((0, flips[1]), (1, flips[0])):
        if flipped:
            unflip[axis, axis], unflip[axis, 2] = -1, scene.out_hw[1 - axis] - 1
    border[:2, 2] = 1
    return (border @ np.linalg.inv(np.array(scene.matrix)) @ unflip).astype(np.float32)


def _group(scenes: Sequence[SceneRow], batch: int) -> SceneGroup:
    """Return scenes of one kind; the size of their chunks depends on nothing that changes from batch to batch."""
    height, width = scenes[0].canvas_hw
    most = max(CHUNK_PIXELS // (height * width), 1)
    chunk = -(-batch // -(-batch // most))
    missing = -len(scenes) % chunk
    tiles = np.stack([scene.tiles for scene in scenes] + [np.zeros((TILES, 9), dtype=np.int32)] * missing)
    flips = np.stack([scene.flips for scene in scenes] + [np.zeros(2, dtype=np.int32)] * missing)
    matrices = [scene.to_canvas for scene in scenes if scene.to_canvas is not None]
    to_canvas = np.stack(matrices + [np.eye(3, dtype=np.float32)] * missing) if matrices else None
    return SceneGroup((height, width), chunk, tiles, flips, to_canvas)
