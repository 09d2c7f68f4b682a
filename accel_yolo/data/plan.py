"""Everything random about a training sample, decided before a pixel is read. Pure.

A plan is a function of (source, seed, epoch, position). It is plain data: it travels to workers, compares with `==`,
and `labels.py` and `render_cpu.py` follow it without a random number of their own. Rectangles and one matrix per scene
are all a renderer needs; without rotation, shear and perspective each tile is one rectangle of the output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from accel_yolo.data.colour import HsvGains, hsv_gains, jitters_colour
from accel_yolo.data.copy_paste import CopyPaste
from accel_yolo.data.geometry import IDENTITY, Draws, Matrix, zoom_and_shift
from accel_yolo.data.mosaic import Tile, direct_tiles, letterboxed_tile, mosaic_tiles
from accel_yolo.data.order import RectLayout, Stream, epoch_order, generator, index_at
from accel_yolo.data.partners import Group, PartnerGroups
from accel_yolo.data.weighting import WeightedDraw
from accel_yolo.letterbox import resized_hw

if TYPE_CHECKING:
    from accel_yolo.config.schema import Hyp

MIXUP_BETA = 32.0
"""Both parameters of the Beta distribution of the mixing ratio: close to one half."""


@dataclass(frozen=True, eq=False)
class PlanSource:
    """What plans are made from; small, and cheap to send to a worker.

    Attributes:
        sizes_hw: int [n, 2], original (height, width) of every image, px.
        imgsz: side of the network input and longer side of loaded images, px.
        hyp: the recipe's augmentation.
        rect: order and shapes of rectangular training; None shuffles and allows mosaics.
        groups: where partners come from; None takes them from all images.
        mosaic_epochs: epochs that may show mosaics, counted from the first; None for all.
        draw: how the order of an epoch is drawn where some images come more often; None shuffles them.
    """

    sizes_hw: np.ndarray
    imgsz: int
    hyp: Hyp
    rect: RectLayout | None = None
    groups: PartnerGroups | None = None
    mosaic_epochs: int | None = None
    draw: WeightedDraw | None = None

    def __len__(self) -> int:
        return len(self.sizes_hw)

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """Return the order of an epoch, int64 [n]."""
        if self.rect is not None:
            return self.rect.order
        return epoch_order(len(self), seed, epoch) if self.draw is None else self.draw.order(seed, epoch)

    def out_hw_at(self, position: int) -> tuple[int, int]:
        """Return the (height, width) in px of the sample at a position."""
        return (self.imgsz, self.imgsz) if self.rect is None else self.rect.shape_at(position)

    def makes_mosaics(self, epoch: int) -> bool:
        """Return whether samples of an epoch may be mosaics, as far as anything but chance decides that."""
        return self.rect is None and (self.mosaic_epochs is None or epoch < self.mosaic_epochs)

    def loaded_hw(self, index: int) -> tuple[int, int]:
        """Return the (height, width) in px of an image as it is loaded."""
        height, width = self.sizes_hw[index].tolist()
        return resized_hw((height, width), self.imgsz)


@dataclass(frozen=True)
class Scene:
    """Tiles on a canvas, and the warp of the canvas to the output.

    Attributes:
        tiles: those of a mosaic or a single image that are seen; they do not overlap.
        canvas_hw: size of the canvas, px; what no tile covers is grey.
        matrix: canvas px to output px.
        scale: zoom of the matrix, which the candidate filter of labels needs.
        out_hw: size of the output, px.
        copy_paste: None when no object is copied.
    """

    tiles: tuple[Tile, ...]
    canvas_hw: tuple[int, int]
    matrix: Matrix
    scale: float
    out_hw: tuple[int, int]
    copy_paste: CopyPaste | None = None

    @property
    def is_warped(self) -> bool:
        """Whether the output is anything but the canvas itself."""
        return self.canvas_hw != self.out_hw or self.matrix != IDENTITY

    def without_canvas(self) -> Scene:
        """Return the same scene with the output as its canvas, if zoom and shift are all that happens to the canvas.

        Each tile is then one crop and resize, straight into its place: a third of the work of a warp.
        """
        direct = zoom_and_shift(self.matrix)
        if direct is None or self.copy_paste is not None:
            return self
        return Scene(direct_tiles(self.tiles, *direct, self.out_hw), self.out_hw, IDENTITY, 1.0, self.out_hw)


@dataclass(frozen=True)
class Mixup:
    """A second scene that shines through; `ratio` is the weight of the first one."""

    scene: Scene
    ratio: float


@dataclass(frozen=True)
class SamplePlan:
    """All decisions about one sample, in the order in which they are carried out."""

    scene: Scene
    mixup: Mixup | None
    hsv_gains: HsvGains | None
    flip_ud: bool
    flip_lr: bool

    @property
    def out_hw(self) -> tuple[int, int]:
        """Size of the sample, px."""
        return self.scene.out_hw

    def indices(self) -> tuple[int, ...]:
        """Return the images that are needed, in order of use; the same one may come twice."""
        tiles = self.scene.tiles + (self.mixup.scene.tiles if self.mixup else ())
        return tuple(tile.index for tile in tiles)


@dataclass(frozen=True)
class _Moment:
    """One position of one epoch: the generators and the order that its decisions draw from."""

    seed: int
    epoch: int
    position: int
    order: np.ndarray
    group: Group | None

    def rng(self, stream: Stream) -> np.random.Generator:
        return generator(self.seed, self.epoch, self.position, stream)

    def partners(self, rng: np.random.Generator, count: int) -> list[int]:
        """Return images of the whole epoch or of the partner group, but never of a process's share.

        From the epoch they are drawn with replacement; from a group without, so that it shows as many as it can.
        """
        if self.group is not None:
            own, others = self.group.number_of(self.position), len(self.group) - 1
            if others < count:
                places = rng.integers(len(self.group), size=count)
            else:
                places = rng.choice(others, size=count, replace=False)
                places += places >= own
            return [index_at(self.order, self.group[place]) for place in places.tolist()]
        return [index_at(self.order, place) for place in rng.integers(len(self.order), size=count).tolist()]


def plan_sample(source: PlanSource, seed: int, epoch: int, position: int) -> SamplePlan:
    """Return the plan of a sample as it is carried out: `plan_on_canvas`, without canvases that are not needed."""
    plan = plan_on_canvas(source, seed, epoch, position)
    mixup = plan.mixup and replace(plan.mixup, scene=plan.mixup.scene.without_canvas())
    return replace(plan, scene=plan.scene.without_canvas(), mixup=mixup)


def plan_on_canvas(source: PlanSource, seed: int, epoch: int, position: int) -> SamplePlan:
    """Return the plan of the sample at a position; positions past the end wrap to other views of the first images.

    Args:
        source: the images and the recipe.
        seed: the seed of the run, >= 0.
        epoch: >= 0.
        position: place in the epoch's order, >= 0.
    """
    group = source.groups.of(position) if source.groups else None
    moment = _Moment(seed, epoch, position, source.order(seed, epoch), group)
    index = index_at(moment.order, position)
    hyp, mixup = source.hyp, None
    rng = moment.rng(Stream.MOSAIC)
    if source.makes_mosaics(epoch) and rng.random() < hyp.mosaic:
        streams = Stream.GEOMETRY, Stream.COPY_PASTE
        scene = _mosaic_scene(source, moment, index, rng, streams)
        mixup = _mixup(source, moment)
    else:
        scene = _single_scene(source, moment, index)
    gains = None
    if jitters_colour(hyp):
        gains = hsv_gains(moment.rng(Stream.COLOUR).uniform(-1, 1, 3), hyp)
    flips = moment.rng(Stream.FLIP).random(2)
    return SamplePlan(scene, mixup, gains, bool(flips[0] < hyp.flipud), bool(flips[1] < hyp.fliplr))


def _mixup(source: PlanSource, moment: _Moment) -> Mixup | None:
    if not source.hyp.mixup:
        return None
    rng = moment.rng(Stream.MIXUP)
    if rng.random() >= source.hyp.mixup:
        return None
    ratio = float(rng.beta(MIXUP_BETA, MIXUP_BETA))
    (index,) = moment.partners(rng, 1)
    streams = Stream.MIXUP_GEOMETRY, Stream.MIXUP_COPY_PASTE
    return Mixup(_mosaic_scene(source, moment, index, rng, streams), ratio)


def _mosaic_scene(
    source: PlanSource, moment: _Moment, index: int, rng: np.random.Generator, streams: tuple[Stream, Stream]
) -> Scene:
    """Return a mosaic of an image and three others; `rng` lays it out, `streams` are for geometry and copy-paste."""
    side = 2 * source.imgsz
    centre_y, centre_x = (int(value) for value in rng.uniform(source.imgsz / 2, source.imgsz * 3 / 2, 2))
    indices = [index, *moment.partners(rng, 3)]
    indices = [indices[place] for place in rng.permutation(4)]
    tiles = mosaic_tiles(indices, [source.loaded_hw(each) for each in indices], (centre_x, centre_y), side)
    geometry, paste = streams
    share = source.hyp.copy_paste
    copy_paste = CopyPaste(share, moment.seed, moment.epoch, moment.position, paste) if share else None
    out_hw = source.imgsz, source.imgsz
    draws = Draws.draw(moment.rng(geometry).uniform, source.hyp)
    return Scene(tiles, (side, side), draws.matrix((side, side), out_hw), draws.scale, out_hw, copy_paste)


def _single_scene(source: PlanSource, moment: _Moment, index: int) -> Scene:
    out_hw = source.out_hw_at(moment.position)
    tile = letterboxed_tile(index, source.loaded_hw(index), out_hw)
    draws = Draws.draw(moment.rng(Stream.GEOMETRY).uniform, source.hyp)
    return Scene((tile,), out_hw, draws.matrix(out_hw, out_hw), draws.scale, out_hw)
