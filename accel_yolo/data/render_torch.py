"""Pixels of planned samples on a device: what `render_cpu.py` does, for a whole batch, from images the device holds.

Nothing here waits for the device, loops over samples or has shapes that depend on data, so that `torch.compile` can
make one kernel of each of the functions that touch pixels. It runs on a CPU too, but OpenCV is several times faster
there.

Tolerance, per byte of the result, against OpenCV without colour: direct tiles differ by at most 1, and one byte in a
thousand does. Warps differ by at most 1 from OpenCV 5; OpenCV 4 rounds coordinates to 1/32 px, which is up to 16 at
hard edges and 0.3 on average. Mixing makes it at most 2. Colour: see `jitter_colour`; a difference of 1 in a dark pixel
is more after its hue and saturation have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from accel_yolo.data.device_images import DeviceImages
from accel_yolo.data.plan_tables import BatchTables, SceneGroup
from accel_yolo.devices import moved

# n scenes, T tiles of each, H W output px, B samples

WEIGHT_BITS = 11
"""Bits of a bilinear weight, as in `cv2.resize`."""


def jitter_colour(images: Tensor, gains: Tensor | None) -> Tensor:
    """Return images with changed colours, as `colour.jitter` changes them.

    The products of a byte and a gain are truncated in hue (half degrees), saturation and value, like the tables of
    `colour.hsv_tables`; all else is arithmetic of whole numbers that float32 holds exactly.

    Tolerance: bytes differ by at most 1 and nearly all are equal. Where the product of a hue and its gain is within
    float32's rounding of a whole number, the neighbouring hue may be taken: up to 9.

    Args:
        images: [B, H, W, 3] uint8 RGB.
        gains: [B, 3] float32, factors of hue, saturation and value; a row of ones, or None for all, changes nothing.

    Returns:
        [B, H, W, 3] uint8.
    """
    if gains is None:
        return images
    red, green, blue = images.to(torch.float32).unbind(-1)
    value = torch.maximum(red, torch.maximum(green, blue))
    chroma = value - torch.minimum(red, torch.minimum(green, blue))
    # The divisions of OpenCV's conversion: by multiplication with a rounded reciprocal, in 12 bits of fraction.
    saturation = torch.floor((chroma * torch.round(1044480 / value.clamp(min=1)) + 2048) / 4096)
    turned = torch.where(value == green, blue - red + 2 * chroma, red - green + 4 * chroma)
    turned = torch.where(value == red, green - blue, turned)
    hue = torch.floor((turned * torch.round(122880 / chroma.clamp(min=1)) + 2048) / 4096)
    hue = torch.where(hue < 0, hue + 180, hue)

    hue_gain, saturation_gain, value_gain = gains.to(torch.float32)[:, :, None, None].unbind(1)
    hue = torch.floor(hue * hue_gain)[..., None]
    saturation = torch.floor((saturation * saturation_gain).clamp(max=255))[..., None]
    value = torch.floor((value * value_gain).clamp(max=255))[..., None]

    # Of the six parts of the circle of hues, a channel shows `value` in two, loses its share of `saturation` in two
    # others, and is on its way in the two between. In float32 and truncated, as OpenCV does it.
    turn = hue * (6 / 180)
    whole = torch.floor(turn)
    done = turn - whole
    part = whole + torch.arange(5, 0, -2, device=images.device)
    part = part - 6 * torch.floor((part + 0.5) / 6)  # never at a whole number: GPUs divide with less precision
    lost = torch.where(part == 0, done, torch.where(part == 3, 1 - done, (part - 1.5).abs() < 1))
    changed = value * (1 / 255) * (1 - saturation * (1 / 255) * lost) * 255
    unchanged = (gains == 1).all(1)[:, None, None, None]
    return torch.where(unchanged, images, changed.to(torch.uint8))


def compose(images: DeviceImages, tiles: Tensor, flips: Tensor, canvas_hw: tuple[int, int]) -> Tensor:
    """Return compositions, [n, H, W, 3] uint8: every tile resized into its rectangle like `cv2.resize`, grey elsewhere.

    Args:
        images: the source.
        tiles: int32 [n, T, 9]: number of the image, canvas_xyxy, source_xyxy, px.
        flips: int32 [n, 2]: whether the composition is flipped (up-down, left-right).
        canvas_hw: (H, W), px.
    """
    height, width = canvas_hw
    number, x1, y1, x2, y2, left, top, right, bottom = tiles.unbind(-1)
    columns = _places(width, flips[:, 1])
    rows = _places(height, flips[:, 0])
    inside_x, first_x, second_x, weight_x = _taps(columns, (x1, x2), (left, right))
    inside_y, first_y, second_y, weight_y = _taps(rows, (y1, y2), (top, bottom))
    offset, stride = (each[..., None] for each in (images.offsets[number], images.sizes_hw[number, 1].to(torch.int64)))
    # One more tile stands for none: all its taps are the grey pixel at the start of the images.
    table_x = F.pad(torch.stack((first_x, second_x, weight_x), -1), (0, 0, 0, 0, 0, 1))
    table_y = F.pad(
        torch.stack((offset + first_y * stride, offset + second_y * stride, weight_y), -1), (0, 0, 0, 0, 0, 1)
    )
    count = tiles.shape[1]
    tile = torch.full((), count, dtype=torch.int64, device=tiles.device)
    for each in range(count):
        tile = torch.where(inside_y[:, each, :, None] & inside_x[:, each, None, :], each, tile)
    slot = tile + (count + 1) * torch.arange(len(tiles), device=tiles.device)[:, None, None]
    across = torch.arange(width, device=tiles.device)
    down = torch.arange(height, device=tiles.device)[:, None]
    left_tap, right_tap, weight_x = table_x.view(-1, 3)[slot * width + across].unbind(-1)
    upper_row, lower_row, weight_y = table_y.view(-1, 3)[slot * height + down].unbind(-1)
    weight_x, weight_y = weight_x[..., None], weight_y.to(torch.int32)[..., None]
    upper = _blend(images.pixels, upper_row + left_tap, upper_row + right_tap, weight_x)
    lower = _blend(images.pixels, lower_row + left_tap, lower_row + right_tap, weight_x)
    rest = (1 << WEIGHT_BITS) - weight_y
    return (((rest * upper >> 16) + (weight_y * lower >> 16) + 2) >> 2).to(torch.uint8)


def warp(canvas: Tensor, to_canvas: Tensor, out_hw: tuple[int, int]) -> Tensor:
    """Return [n, H, W, 3] uint8, bilinear views of canvases, grey outside.

    Args:
        canvas: [n, h, w, 3] uint8, with a border of one grey pixel.
        to_canvas: [n, 3, 3] float32, output px to canvas px.
        out_hw: (H, W), px.
    """
    height, width = canvas.shape[1:3]
    y, x = (torch.arange(side, dtype=torch.float32, device=canvas.device) for side in out_hw)
    first, second, third = (to_canvas[:, :, column, None, None] for column in range(3))
    # Not a matrix product: on a GPU that may be computed with less precision.
    place_x, place_y, depth = (first * x + second * y[:, None] + third).unbind(1)
    before_x, after_x, share_x = _neighbours(place_x / depth, width)
    before_y, after_y, share_y = _neighbours(place_y / depth, height)
    start = torch.arange(len(canvas), device=canvas.device)[:, None, None] * (height * width)
    pixels = canvas.view(-1, 3)
    upper_row, lower_row = start + before_y * width, start + after_y * width
    taps = [pixels[row + column].to(torch.float32) for row in (upper_row, lower_row) for column in (before_x, after_x)]
    upper, lower = (before + share_x * (after - before) for before, after in (taps[:2], taps[2:]))
    return torch.floor(upper + share_y * (lower - upper) + 0.5).to(torch.uint8)


def mix(first: Tensor, second: Tensor, ratios: Tensor) -> Tensor:
    """Return the truncated sum of images [B, H, W, 3] uint8, weighted by ratios float32 [B] and their rest."""
    weight = ratios[:, None, None, None]
    return (first.to(torch.float32) * weight + second.to(torch.float32) * (1 - weight)).to(torch.uint8)


@dataclass(frozen=True)
class Programs:
    """The functions that touch pixels: as they stand, or compiled."""

    compose: Callable[..., Tensor] = compose
    warp: Callable[..., Tensor] = warp
    mix: Callable[..., Tensor] = mix
    jitter_colour: Callable[..., Tensor] = jitter_colour

    @classmethod
    def compiled(cls) -> Programs:
        """Return the functions compiled for the shapes they meet, on first use."""
        return cls(*(torch.compile(each, dynamic=False) for each in (compose, warp, mix, jitter_colour)))


PLAIN = Programs()


def render_tables(
    tables: BatchTables, images: DeviceImages, *, colour: bool = True, programs: Programs = PLAIN
) -> Tensor:
    """Return the pixels of a batch.

    Args:
        tables: the batch.
        images: what it is made of.
        colour: change the colours too; otherwise that is left to the network's input.
        programs: the functions to use.

    Returns:
        uint8 [B, H, W, 3] RGB, on the device of the images.
    """
    device = images.pixels.device
    parts = [part for group in tables.groups for part in _render_group(group, images, tables.out_hw, programs)]
    scenes = torch.cat(parts) if len(parts) > 1 else parts[0]
    count = tables.places.shape[1]
    if len(scenes) == count and (tables.places[0] == np.arange(count)).all():
        batch = scenes
    else:
        batch = scenes[moved(tables.places[0], device)]
    if tables.ratios is not None:
        batch = programs.mix(
            batch,
            scenes[moved(tables.places[1], device)],
            moved(tables.ratios, device),
        )
    if colour and tables.gains is not None:
        batch = programs.jitter_colour(batch, moved(tables.gains, device))
    return batch


def _render_group(group: SceneGroup, images: DeviceImages, out_hw: tuple[int, int], programs: Programs) -> list[Tensor]:
    device = images.pixels.device
    tiles, flips = moved(group.tiles, device), moved(group.flips, device)
    to_canvas = None if group.to_canvas is None else moved(group.to_canvas, device)
    parts = []
    for begin in range(0, len(tiles), group.chunk):
        members = slice(begin, begin + group.chunk)
        part = programs.compose(images, tiles[members], flips[members], group.canvas_hw)
        parts.append(part if to_canvas is None else programs.warp(part, to_canvas[members], out_hw))
    return parts


def _places(side: int, flips: Tensor) -> Tensor:
    """Return int32 [n, side]: what each output px shows along one axis, before flips [n]."""
    place = torch.arange(side, dtype=torch.int32, device=flips.device)
    return torch.where(flips[:, None] > 0, side - 1 - place, place)


def _taps(
    places: Tensor, shown: tuple[Tensor, Tensor], part: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return where the pixels along one axis come from, in whole numbers: the same on every device.

    Args:
        places: int32 [n, L] px.
        shown: begin and end of each tile, int32 [n, T] each, px.
        part: begin and end of what it shows of its image, int32 [n, T] each, px.

    Returns:
        Whether a pixel is in a tile; the two pixels of the image it lies between; the weight of the second of them, of
        2048: [n, T, L] each.
    """
    (begin, end), (first, last) = ((low[..., None], high[..., None]) for low, high in (shown, part))
    place, count = places[:, None, :], last - first
    per = 2 * (end - begin).clamp(min=1)  # in halves of an output px, so that centres are whole numbers
    position = (2 * (place - begin) + 1) * count - (end - begin)
    position = torch.minimum(position.clamp(min=0), (count - 1).clamp(min=0) * per)
    whole = torch.div(position, per, rounding_mode="floor")
    weight = torch.div(((position - whole * per) << (WEIGHT_BITS + 1)) + per, 2 * per, rounding_mode="floor")
    before = first + whole
    return (place >= begin) & (place < end), before, torch.minimum(before + 1, last - 1), weight


def _blend(pixels: Tensor, before: Tensor, after: Tensor, weight: Tensor) -> Tensor:
    """Return int32 [..., 3]: 128 times the weighted mean of pixels at [...]; fixed point, as in `cv2.resize`."""
    rest = (1 << WEIGHT_BITS) - weight
    return (pixels[before].to(torch.int32) * rest + pixels[after].to(torch.int32) * weight) >> 4


def _neighbours(place: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two whole px (int64) that places lie between, kept to the side's px, and the share of the second."""
    # Beyond the border all is as grey as the border. A place on the horizon is nowhere (NaN): grey too.
    place = place.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).clamp(0, side - 1)
    before = torch.floor(place)
    share = (place - before)[..., None]
    before = before.to(torch.int64)
    return before, (before + 1).clamp(max=side - 1), share
