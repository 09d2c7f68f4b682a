"""From batches of pictures to what is in them, and what else a run shows of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from accel_yolo.devices import memory_named
from accel_yolo.errors import ConfigError
from accel_yolo.inference.lanes import in_lanes, lanes_of
from accel_yolo.inference.output.outputs import draw_options
from accel_yolo.inference.predictor import PredictOptions, Predictor
from accel_yolo.inference.results import Detections
from accel_yolo.inference.sources.frames import Frame, Unreadable
from accel_yolo.inference.sources.reading import MOST_BYTES

if TYPE_CHECKING:
    from accel_yolo.config.predict_schema import PredictConfig
    from accel_yolo.inference.sources.items import Item

    Batch = Sequence[Frame | Unreadable]

_BATCHES_PER_LANE = 2


def looked_at(
    predictor: Predictor, batches: Iterable[Batch], options: PredictOptions, *, in_turn: bool
) -> Iterator[tuple[Frame, Detections] | Unreadable]:
    """Yield what is found in each picture, or what cannot be read, in the order of the source.

    On a CPU each thread works on batches of its own, see `lanes`, unless there are few.

    Args:
        predictor: finds objects.
        batches: what goes through the network together.
        options: what is asked for.
        in_turn: take a batch only when what is in the one before is known.
    """

    def work(batch: Batch) -> tuple[Batch, list[Detections]]:
        pictures = [seen.picture for seen in batch if isinstance(seen, Frame)]
        with memory_named(f"--imgsz {options.imgsz[0]} {options.imgsz[1]}", "try a smaller --imgsz, --batch or model"):
            return batch, predictor.detect(pictures, options) if pictures else []

    alone = in_turn or not predictor.network.parallel
    device = predictor.network.device
    results = map(work, batches) if alone else in_lanes(work, batches, device, _bytes_of, MOST_BYTES)
    for batch, found in results:
        left = iter(found)
        for seen in batch:
            yield (seen, next(left)) if isinstance(seen, Frame) else seen


def go_in_turn(items: Sequence[Item], batch: int, predictor: Predictor) -> bool:
    """Return whether all threads of a CPU should share each batch: streams wait for nobody, few images end soon."""
    if items[0].kind == "stream":
        return True
    lanes, _ = lanes_of(predictor.network.device)
    return all(item.kind != "video" for item in items) and len(items) < _BATCHES_PER_LANE * lanes * batch


def _bytes_of(batch: Batch) -> int:
    return sum(seen.weight for seen in batch if isinstance(seen, Frame))


class Watchers:
    """What shows pictures beside the files: feature maps and windows, where they are asked for.

    Args:
        config: the flags.
        predictor: finds the objects.
        items: what it looks at.

    Raises:
        ConfigError: feature maps of something else than images, or of another network than torch's.
        EnvironmentFault: there are no windows here.
    """

    def __init__(self, config: PredictConfig, predictor: Predictor, items: Sequence[Item]) -> None:
        self._predictor, self._draw = predictor, draw_options(config)
        self._maps = self._windows = None
        if config.visualize:
            from accel_yolo.inference.output.feature_maps import FeatureMaps

            if any(item.kind in ("video", "stream") for item in items):
                raise ConfigError("feature maps are of images", "--visualize", config.source, "give images only")
            self._maps = FeatureMaps(predictor.network)
        if config.view_img:
            from accel_yolo.inference.output.windows import Windows

            self._windows = Windows()

    def see(self, frame: Frame, found: Detections, options: PredictOptions, folder: Path) -> None:
        """Show a picture and what was found in it.

        Raises:
            KeyboardInterrupt: the user ends the run in a window.
        """
        if self._maps is not None:
            picture = frame.picture
            if picture.ready is None:
                picture = self._predictor.prepare(picture, replace(options, tiling=None))
            assert picture.ready is not None
            self._maps.write(picture.ready[1], folder / picture.stem)
        if self._windows is not None:
            self._windows.show(frame, found.rounded().plot(self._draw))

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """Close the windows at the end."""
        try:
            yield
        finally:
            if self._windows is not None:
                self._windows.close()
