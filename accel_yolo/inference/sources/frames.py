"""Pictures of a source, whatever it is: an image, a frame of a video, the newest frame of a stream."""

from __future__ import annotations

from dataclasses import dataclass

from accel_yolo.errors import UserError
from accel_yolo.inference.picture_detector import Picture
from accel_yolo.inference.sources.items import Item


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        picture: its pixels, and the names of files made from it.
        item: the source it belongs to.
        number: its place in a video or a stream, from 1; 0 for an image.
        fps: frames per second of the video that is made of it; 0 for an image.
        total: frames that the video promises; 0 where it does not.
        decode_ms: time it took to read.
        prepare_ms: time it took to bring to the size of the network, where that was done ahead.
    """

    picture: Picture
    item: Item
    number: int = 0
    fps: float = 0.0
    total: int = 0
    decode_ms: float = 0.0
    prepare_ms: float = 0.0

    @property
    def weight(self) -> int:
        """Bytes that it holds."""
        return self.picture.image.nbytes + (0 if self.picture.ready is None else self.picture.ready[1].nbytes)


@dataclass(frozen=True)
class Unreadable:
    """What stands in the place of an item, or of the rest of it, that cannot be read.

    Attributes:
        item: the item.
        error: why.
        frames: how many frames were read before.
    """

    item: Item
    error: UserError
    frames: int = 0
