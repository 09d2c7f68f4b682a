"""What is looked at together, whatever the source is; without torch."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence

from accel_yolo import console
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


def detections_of(
    items: Sequence[Item], detector: PictureDetector, options: PredictOptions, batch: int, stride: int = 1
) -> Iterator[Detections]:
    """Yield the objects of each picture in order; what cannot be read is skipped with a warning.

    Raises:
        DataError: the only item cannot be read.
    """
    with contextlib.closing(batches_of(items, detector, options, batch, stride)) as batches:
        for seen in batches:
            yield from detector.detect([one.picture for one in seen if isinstance(one, Frame)], options)
            for one in seen:
                if not isinstance(one, Unreadable):
                    continue
                if len(items) == 1:
                    raise one.error
                console.warn(f"{one.item.label} skipped: {one.error}")
