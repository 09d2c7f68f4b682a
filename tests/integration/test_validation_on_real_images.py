"""What makes validation fast changes none of its results on real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data.eval_loader import EvalLoader, eval_shapes
from accel_yolo.data.index import build_index
from accel_yolo.data.workers import Workers
from accel_yolo.engine.evaluate import EvalOptions, Evaluation, evaluate, images_per_pass
from accel_yolo.engine.world import World
from accel_yolo.inference.network import inference_copy
from accel_yolo.losses.detection import LossOptions
from accel_yolo.metrics import nms
from accel_yolo.metrics.nms import NmsOptions, non_max_suppression, suppressed
from accel_yolo.models.decoding import confident_rows
from accel_yolo.models.detector import Detector
from accel_yolo.models.network_input import network_input
from accel_yolo.models.weights import detector_from_weights, load_weights

OPTIONS = NmsOptions(0.001, 0.6, multi_label=True)


@pytest.fixture(scope="module")
def detector(published_weights: Path) -> Detector:
    return detector_from_weights(load_weights(published_weights))


def batches_of(data: Path, imgsz: int, batch: int) -> EvalLoader:
    spec = load_data_spec(data)
    index = build_index(spec, "val", single_cls=False, bad_data="fail", workers=1)
    return EvalLoader(index, imgsz, eval_shapes(index.sizes_hw, imgsz, 32), batch, Workers())


@pytest.mark.slow
@torch.inference_mode()
def test_the_most_confident_2400_candidates_first_change_no_detection(
    detector: Detector, coco128: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, crowded = inference_copy(detector), 0
    for batch in batches_of(coco128, 640, 4).share(0, 1):
        raws = model(network_input(batch.images, torch.float32))
        rows, place = confident_rows(model, raws, OPTIONS.conf_thres)
        few = suppressed(rows, place, len(batch.ids), OPTIONS)
        with monkeypatch.context() as patch:
            patch.setattr(nms, "FIRST_CANDIDATES_PER_KEPT", nms.MAX_CANDIDATES)
            everything = suppressed(rows, place, len(batch.ids), OPTIONS)
        assert all(torch.equal(one, other) for one, other in zip(few, everything, strict=True))
        # And as decoding every cell would have it, but for the last digit of a sigmoid.
        for one, other in zip(few, non_max_suppression(model.decode(raws), OPTIONS), strict=True):
            assert len(one) == len(other)
            torch.testing.assert_close(one[:, :5], other[:, :5], rtol=1e-5, atol=1e-3)
        crowded += sum(len(kept) == OPTIONS.max_det for kept in few)
    assert crowded > 30


@pytest.mark.slow
def test_passes_over_few_images_give_the_metrics_and_losses_of_large_ones(detector: Detector, coco128: Path) -> None:
    loss = LossOptions(box=0.05, obj=1.0, cls=0.5).scaled(160)
    options, world = EvalOptions(OPTIONS, loss), World.start("cpu")

    def run(batch: int) -> Evaluation:
        return evaluate(detector, batches_of(coco128, 160, batch), options, world)

    assert images_per_pass(32, torch.device("cpu")) == 4 and images_per_pass(2, torch.device("cpu")) == 2
    assert images_per_pass(32, torch.device("cuda")) == 32
    few, many = run(4), run(32)
    assert few.ap.map50 == pytest.approx(many.ap.map50, abs=1e-4)
    assert few.ap.map50_95 == pytest.approx(many.ap.map50_95, abs=1e-4)
    assert few.losses == pytest.approx(many.losses, rel=1e-5)
    assert len(few.detections) == pytest.approx(len(many.detections), abs=3)


def test_metrics_do_not_depend_on_the_number_of_threads(detector: Detector, coco128: Path) -> None:
    loss = LossOptions(box=0.05, obj=1.0, cls=0.5).scaled(160)
    before, found = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            loader = batches_of(coco128, 160, 4)
            found.append(evaluate(detector, loader, EvalOptions(OPTIONS, loss), World.start("cpu")))
        finally:
            torch.set_num_threads(before)
    one, three = found
    np.testing.assert_array_equal(one.detections, three.detections)
    np.testing.assert_array_equal(one.ap.ap, three.ap.ap)
    assert one.losses == three.losses


def test_what_runs_is_channels_last_from_input_to_head(detector: Detector) -> None:
    model, strays = inference_copy(detector), []

    def look(_module: torch.nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and not output.is_contiguous(memory_format=torch.channels_last):
            strays.append(output.shape)

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(look)
    with torch.inference_mode():
        model(network_input(torch.from_numpy(np.zeros((2, 96, 128, 3), np.uint8)), torch.float32))
    assert strays == []
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    # A copy: the detector that was given trains on.
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in detector.modules())
    assert not any(getattr(module, "inplace", False) for module in detector.modules())
