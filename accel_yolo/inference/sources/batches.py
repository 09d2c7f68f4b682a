"""What is looked at together, whatever the source is; without torch."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence

from accel_yolo import console
from accel_yolo.errors import DataError
from accel_yolo.inference.picture_detector import PictureDetector, PredictOptions
from accel_yolo.inference.results import Detections
from accel_yolo.inference.sources.frames import Frame, Unreadable
from accel_yolo.inference.sources.items import Item
from accel_yolo.inference.sources.reading import prepared, read_batches

STREAM_TIMEOUT_S = 60.0


def batches_of(
    items: Sequence[Item],
    detector: PictureDetector,
    options: PredictOptions,
    batch: int,
    stride: int = 1,
    give_up_s: float = STREAM_TIMEOUT_S,
) -> Generator[Sequence[Frame | Unreadable]]:
    """Yield pictures that are looked at together: read ahead, or the newest frames of streams.

    Args:
        items: images and videos, or streams.
        detector: prepares the pictures.
        options: the size to prepare them for.
        batch: pictures of a batch, at most; of streams it is one of each.
        stride: of the frames of a video or stream, every so many.
        give_up_s: how long a stream may be silent.
    """
    if items[0].kind != "stream":
        yield from read_batches(items, batch, lambda picture: detector.prepare(picture, options), stride)
        return
    from accel_yolo.inference.sources.streams import Patience, Streams

    # Nothing is read ahead of the network: what waits grows old.
    for frames in Streams(items, Patience(give_up_s=give_up_s), stride):
        yield [prepared(frame, lambda picture: detector.prepare(picture, options)) for frame in frames]


def first_readable(
    batches: Iterator[Sequence[Frame | Unreadable]],
    items: Sequence[Item],
    source: str,
    tell: Callable[[Unreadable], None],
) -> Sequence[Frame | Unreadable]:
    """Return the first batch with a picture, after telling what cannot be read before it.

    Args:
        batches: of `batches_of`.
        items: what they are made of.
        source: the word that names the items.
        tell: is given what cannot be read.

    Raises:
        UserError: the only item cannot be read.
        DataError: nothing can be read.
    """
    for batch in batches:
        if any(isinstance(seen, Frame) for seen in batch):
            return batch
        for seen in batch:
            assert isinstance(seen, Unreadable)
            if len(items) == 1:
                raise seen.error
            tell(seen)
    raise DataError("nothing could be read", value=source, remedy="the warnings above say why")


def detections_of(
    items: Sequence[Item], source: str, detector: PictureDetector, options: PredictOptions, batch: int, stride: int = 1
) -> Iterator[Detections]:
    """Yield the objects of each picture in order; what cannot be read is skipped with a warning.

    Args:
        items, source: see `first_readable`.
        detector, options, batch, stride: see `batches_of`.

    Raises:
        UserError: the only item cannot be read.
        DataError: nothing can be read.
    """
    with contextlib.closing(batches_of(items, detector, options, batch, stride)) as batches:
        first = first_readable(batches, items, source, _warn)
        for seen in itertools.chain([first], batches):
            yield from detector.detect([one.picture for one in seen if isinstance(one, Frame)], options)
            for one in seen:
                if isinstance(one, Unreadable):
                    _warn(one)


def _warn(of: Unreadable) -> None:
    console.warn(f"{of.item.label}{'' if of.frames else ' skipped'}: {of.error}")
