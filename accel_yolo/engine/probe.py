"""A training step on made-up images, taken to see how much memory it needs."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from accel_yolo.config.schema import TrainConfig
from accel_yolo.data.order import Stream, generator
from accel_yolo.data.ring import SLOTS
from accel_yolo.engine.batchnorm import GroupedBatchNorm2d, convert_batchnorm
from accel_yolo.engine.build import LEAST_TRAINING_STRIDES, loss_options, untrained_detector, whole_strides
from accel_yolo.engine.memory import Peak
from accel_yolo.engine.trainable import Trainable
from accel_yolo.losses.assignment import assign, entry_counts
from accel_yolo.losses.detection import LossOptions, term_means
from accel_yolo.models.detector import Detector

OBJECTS = 16
"""Objects of a made-up image: about what a mosaic of four images of COCO shows."""

_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "ALLOC_FAILED",
    "could not create a memory object",
    "could not create a primitive",
)
"""How libraries below torch say it, where the kind of the exception does not."""


@dataclass(frozen=True)
class Steps:
    """What is to be tried.

    Attributes:
        config: the run; its batch does not matter.
        names: of the classes.
        sizes: samples of the steps, ascending.
        device: where.
        precision: "fp32", "fp16" or "bf16".
    """

    config: TrainConfig
    names: dict[int, str]
    sizes: tuple[int, ...]
    device: torch.device
    precision: str


def taken_bytes(steps: Steps) -> Iterator[int]:
    """Yield what each step takes, with all that training keeps beside it; ends early where memory runs out.

    Raises:
        UserError: the detector cannot be made.
    """
    peak = Peak(steps.device)
    detector = untrained_detector(steps.config, steps.names)
    config = replace(steps.config, imgsz=whole_strides(steps.config.imgsz, detector, LEAST_TRAINING_STRIDES))
    probe = Probe(detector, config, loss_options(config, detector), steps.device, steps.precision)
    # On a CPU the batches that workers render ahead lie in the same memory.
    slots_bytes = SLOTS * probe.image_bytes if steps.device.type != "cuda" else 0
    for size in steps.sizes:
        images = size // config.unit
        grown = probe.peak_of(images, peak)
        if grown is None:
            return
        yield grown + probe.kept_bytes + slots_bytes * images


class Probe:
    """Steps of a detector: forward pass, loss and backward pass, in the run's image size and precision.

    Weights, statistics and gradients of the detector are afterwards as before, whatever happened.

    Args:
        detector: on the host.
        config: the run.
        options: its loss.
        device: where it trains.
        precision: "fp32", "fp16" or "bf16".
    """

    def __init__(
        self, detector: Detector, config: TrainConfig, options: LossOptions, device: torch.device, precision: str
    ) -> None:
        detector = detector.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        # A BatchNorm over all processes would have to meet in every step; over its own images it takes as much.
        convert_batchnorm(detector, sync=False, group=config.bn_group // config.unit, world_size=1)
        stride, scale = max(32, *detector.strides), 2 if config.quad else 1
        self._shown = config.imgsz * scale
        largest = (config.imgsz * 3 // 2 + stride - 1) // stride * stride if config.multi_scale else config.imgsz
        self._side = largest * scale
        self._detector, self._config, self._options = detector, config, options
        self._trainable = Trainable(detector, options).train()
        self._device, self._dtype = device, {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        self._anchors_grid = detector.anchors.detach().cpu().numpy()
        if not (self._anchors_grid > 0).all():  # only their number is known: any sizes
            sizes = np.linspace(1, 8, self._anchors_grid[..., 0].size).reshape(*self._anchors_grid.shape[:2], 1)
            self._anchors_grid = np.repeat(sizes, 2, axis=2).astype(np.float32)

    @property
    def image_bytes(self) -> int:
        """Bytes of an image as the workers render it."""
        return 3 * self._shown**2

    @property
    def gradient_bytes(self) -> int:
        """Bytes of the gradient of an update."""
        return sum(4 * parameter.numel() for parameter in self._learning())

    @property
    def kept_bytes(self) -> int:
        """Bytes that training keeps beside weights and gradients: moments of the optimizer, the average, and gradients
        once more, for DDP while it arranges what is exchanged."""
        moments = (1 if self._config.optimizer == "SGD" else 2) + 1
        average = sum(value.numel() * value.element_size() for value in self._detector.state_dict().values())
        return moments * self.gradient_bytes + average

    def peak_of(self, images: int, peak: Peak) -> int | None:
        """Return the most memory that a step takes above what `peak` began with; None if there is not enough.

        Args:
            images: of the step, as the network sees them.
            peak: measures it.
        """
        before = [buffer.clone() for buffer in self._detector.buffers()]
        benchmark = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = not (self._config.rect or self._config.multi_scale)  # as in training
        try:
            return _unless_out_of_memory(lambda: peak.of(lambda: self._step(images)))
        finally:
            torch.backends.cudnn.benchmark = benchmark
            self._put_back(before)

    def _step(self, images: int) -> None:
        for parameter in self._learning():  # an update may be of several steps, so gradients are there already
            parameter.grad = torch.zeros_like(parameter)
        rng = generator(self._config.seed, 0, images, Stream.PROBE)
        shape = (images, self._shown, self._shown, 3)
        pixels = torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8)).to(self._device)
        grids = [(self._side // stride, self._side // stride) for stride in self._detector.strides]
        targets = made_up_targets(rng, images, self._detector.nc)
        matched = assign(targets, self._anchors_grid, grids, self._config.hyp.anchor_t)
        counts = self._on_device(entry_counts(matched))
        anchors = self._anchors_grid.shape[1]
        cells = self._on_device([images * anchors * height * width for height, width in grids])
        with torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype is not None):
            sums = self._trainable(pixels, [level.to(self._device) for level in matched], (self._side, self._side))
        (term_means(sums, counts, cells, self._options).sum() * images).backward()

    def _on_device(self, numbers: list[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float32, device=self._device)

    def _learning(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self._detector.parameters() if parameter.requires_grad]

    def _put_back(self, buffers: list[Tensor]) -> None:
        for layer in self._detector.modules():
            if isinstance(layer, GroupedBatchNorm2d):
                layer.fold()  # forget what it has seen
        with torch.no_grad():
            for buffer, value in zip(self._detector.buffers(), buffers, strict=True):
                buffer.copy_(value)
        for parameter in self._detector.parameters():
            parameter.grad = None
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def made_up_targets(rng: np.random.Generator, images: int, classes: int) -> np.ndarray:
    """Return float32 [images * OBJECTS, 6]: image, class, cx, cy, w, h (0..1); most objects are small."""
    count = images * OBJECTS
    sides = np.exp(rng.uniform(np.log(0.02), np.log(0.6), (count, 2)))
    centres = rng.uniform(sides / 2, 1 - sides / 2)
    image, kind = np.repeat(np.arange(images), OBJECTS), rng.integers(classes, size=count)
    return np.concatenate((image[:, None], kind[:, None], centres, sides), axis=1).astype(np.float32)


def _unless_out_of_memory(work: Callable[[], int]) -> int | None:
    """Return what `work` returns, None if memory runs out in it; then nothing that it made is alive any more."""
    try:
        return work()
    except (torch.OutOfMemoryError, MemoryError):
        return None
    except RuntimeError as error:
        if any(sign in str(error) for sign in _OUT_OF_MEMORY):
            return None
        raise
