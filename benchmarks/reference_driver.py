"""Times one part of a checkout of the reference detector from outside, turn by turn (see served_turns.py).

    python reference_driver.py loader --checkout DIR --images DIR [--cache ram]
    python reference_driver.py step --checkout DIR --size n --imgsz 320

Runs in the reference's own environment; side_by_side.py starts it. A turn is, for `loader`, an epoch of batches as the
reference's loader collates them; for `step`, forward, loss, backward, clipping, optimizer and average on a fixed batch;
for `waiting` and `loop`, steps of a fixed length or real ones on the batches of worker processes; for `curve`, a real
step on every batch of a file.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from served_turns import own_memory_bytes, own_stdout, serve

ANSWERS = own_stdout()


def arguments_of() -> argparse.Namespace:
    """Return what was typed, paths made absolute."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["loader", "step", "waiting", "loop", "memory", "curve"])
    parser.add_argument("--checkout", required=True)
    for name in ("--images", "--weights", "--batches"):
        parser.add_argument(name, default="")
    parser.add_argument("--cache", default="")
    parser.add_argument("--size", default="n")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    for name, number in (("--imgsz", 640), ("--batch", 16), ("--workers", 0), ("--steps", 8), ("--repeat", 1)):
        parser.add_argument(name, type=int, default=number)
    parser.add_argument("--step-ms-per-image", type=float, default=5.0)
    arguments = parser.parse_args()
    for name in ("images", "weights", "batches", "checkout"):
        if value := getattr(arguments, name):
            setattr(arguments, name, str(Path(value).resolve()))
    return arguments


ARGUMENTS = arguments_of()
os.chdir(ARGUMENTS.checkout)
sys.path.insert(0, ARGUMENTS.checkout)

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402

ON_GPU = ARGUMENTS.device != "cpu"
DEVICE = "cuda:0" if ON_GPU else "cpu"


def recipe() -> dict[str, Any]:
    """Return the default recipe with gains scaled for 80 classes and three levels, as its training command does."""
    hyp = yaml.safe_load(Path("data/hyps/hyp.scratch-low.yaml").read_text())
    return {**hyp, "obj": hyp["obj"] * (ARGUMENTS.imgsz / 640) ** 2, "label_smoothing": 0.0}


def data_set() -> Any:
    """Return the reference's training set."""
    from utils.dataloaders import LoadImagesAndLabels  # pyright: ignore[reportMissingImports]

    return LoadImagesAndLabels(
        ARGUMENTS.images, ARGUMENTS.imgsz, ARGUMENTS.batch, augment=True, hyp=recipe(),
        cache_images=ARGUMENTS.cache or False, stride=32,
    )  # fmt: skip


def batches(samples: Any, workers: int) -> Any:
    """Return a loader of its batches; small data sets are repeated, as in ours."""
    repeated = torch.utils.data.Subset(samples, list(range(len(samples))) * ARGUMENTS.repeat)
    return torch.utils.data.DataLoader(
        repeated, batch_size=ARGUMENTS.batch, shuffle=True, drop_last=True, num_workers=workers,
        collate_fn=samples.collate_fn, pin_memory=ON_GPU, persistent_workers=workers > 0,
    )  # fmt: skip


class Trainer:
    """Its model, loss, optimizer and average, and a step with them."""

    def __init__(self) -> None:
        from models.yolo import Model  # pyright: ignore[reportMissingImports]
        from utils.loss import ComputeLoss  # pyright: ignore[reportMissingImports]
        from utils.torch_utils import ModelEMA, smart_optimizer  # pyright: ignore[reportMissingImports]

        torch.manual_seed(0)
        model = Model(f"models/yolov5{ARGUMENTS.size}.yaml", ch=3, nc=80)
        if ARGUMENTS.weights:
            stored = torch.load(ARGUMENTS.weights, map_location="cpu", weights_only=False)
            model.load_state_dict((stored.get("ema") or stored["model"]).float().state_dict())
        self.model = model.to(DEVICE).train()
        self.model.hyp = recipe()
        self.loss, self.average = ComputeLoss(self.model), ModelEMA(self.model)
        self.optimizer = smart_optimizer(self.model, "SGD", 0.001, 0.937, 0.0005)
        self.half = ARGUMENTS.precision != "fp32"
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.half and ON_GPU)

    def step(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of a step; images uint8 [B, 3, H, W], targets [T, 6]."""
        inputs = images.to(DEVICE, non_blocking=True).float() / 255
        kind = torch.float16 if ON_GPU else torch.bfloat16  # what its autocast would use
        with torch.autocast(DEVICE.split(":")[0], enabled=self.half, dtype=kind):
            loss, _ = self.loss(self.model(inputs), targets.to(DEVICE))
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.average.update(self.model)
        return loss.detach()


def loader() -> Any:
    """Return a turn: an epoch of batches, made in this process."""
    source = batches(data_set(), 0)
    return lambda: {"images": sum(len(batch[0]) for batch in source)}


def step() -> Any:
    """Return a turn: steps on a fixed batch of random pixels with 20 boxes an image."""
    trainer, draw = Trainer(), np.random.default_rng(0)
    shape = (ARGUMENTS.batch, ARGUMENTS.imgsz, ARGUMENTS.imgsz, 3)
    images = torch.from_numpy(draw.integers(0, 256, shape, dtype=np.uint8)).permute(0, 3, 1, 2).contiguous()
    count = 20 * ARGUMENTS.batch
    columns = [np.repeat(np.arange(ARGUMENTS.batch), 20)[:, None], draw.integers(0, 80, (count, 1))]
    columns += [draw.random((count, 2)), draw.random((count, 2)) * 0.3 + 0.02]
    targets = torch.from_numpy(np.concatenate(columns, 1)).float()

    def turn() -> dict[str, Any]:
        for _ in range(ARGUMENTS.steps):
            trainer.step(images, targets)
        return {"images": ARGUMENTS.steps * ARGUMENTS.batch, **device_memory()}

    return turn


def loop() -> Any:
    """Return a turn: an epoch of batches of worker processes, each followed by a step, real or of fixed length."""
    source = batches(data_set(), ARGUMENTS.workers)
    trainer = Trainer() if ARGUMENTS.part == "loop" else None

    def turn() -> dict[str, Any]:
        waits, images, asked = [], 0, time.perf_counter()
        for batch in source:
            waits.append(time.perf_counter() - asked)
            images += len(batch[0])
            if trainer is None:
                time.sleep(ARGUMENTS.step_ms_per_image / 1e3 * len(batch[0]))
            else:
                trainer.step(batch[0], batch[1])
            asked = time.perf_counter()
        return {"images": images, "waited_s": sum(waits[1:]), "first_s": waits[0], **device_memory()}

    return turn


def memory() -> Any:
    """Return a turn: what this process alone holds after it has read the whole set."""
    samples = data_set()

    def turn() -> dict[str, Any]:
        for number in range(len(samples)):
            samples[number]
        return {"images": len(samples), "own_bytes": own_memory_bytes()}

    return turn


def curve() -> Any:
    """Return a turn: the losses of steps on the batches of a file, as often as asked for."""
    trainer, stored = Trainer(), np.load(ARGUMENTS.batches)
    names = [str(name) for name in stored["order"]]

    def turn() -> dict[str, Any]:
        losses = []
        for name in names[: ARGUMENTS.steps]:
            images = torch.from_numpy(stored[f"images{name}"]).permute(0, 3, 1, 2).contiguous()
            losses.append(float(trainer.step(images, torch.from_numpy(stored[f"targets{name}"]))) / len(images))
        return {"losses": losses}

    return turn


def device_memory() -> dict[str, Any]:
    """Return the most memory of tensors on a GPU."""
    return {"peak_bytes": torch.cuda.max_memory_allocated()} if ON_GPU else {}


PARTS = {"loader": loader, "step": step, "waiting": loop, "loop": loop, "memory": memory, "curve": curve}

if __name__ == "__main__":
    known = {"torch": torch.__version__, "cv2": cv2.__version__, "threads": torch.get_num_threads()}
    turn_of_part = PARTS[ARGUMENTS.part]()
    serve(ANSWERS, known, turn_of_part, torch.cuda.synchronize if ON_GPU else lambda: None)
