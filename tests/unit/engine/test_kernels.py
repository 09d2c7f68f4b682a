"""How a step is carried out: compiled layers, updates skipped on the device, flags for GPUs, memory, input."""

from __future__ import annotations

import copy
import gc
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.kernels import choose_kernels, compile_layers, keep_freed_memory
from accel_yolo.engine.optim import build_optimizer
from accel_yolo.engine.world import World
from accel_yolo.errors import ConfigError
from accel_yolo.models.detector import Detector
from accel_yolo.models.network_input import network_input
from accel_yolo.models.zoo import build_detector, model_spec


@pytest.fixture
def detector() -> Detector:
    return build_detector(model_spec("yolov5n"), {0: "item"})


@pytest.fixture
def world() -> World:
    return World.start("cpu")


@pytest.mark.parametrize("other", ["multi_scale", "rect", "sync_bn"])
def test_a_recorded_step_is_refused_where_its_shapes_would_change(other: str) -> None:
    settings: dict[str, Any] = {other: True}
    with pytest.raises(ConfigError, match=f"--cuda-graphs.*--{other.replace('_', '-')}"):
        TrainConfig(cuda_graphs=True, **settings)


def test_compiling_is_refused_for_sizes_that_change() -> None:
    with pytest.raises(ConfigError, match="--compile is for one image size"):
        TrainConfig(compile=True, multi_scale=True)


def test_a_recorded_step_is_refused_without_a_gpu(detector: Detector, world: World) -> None:
    with pytest.raises(ConfigError, match="--cuda-graphs needs a CUDA GPU"):
        choose_kernels(detector, TrainConfig(cuda_graphs=True), 16, world)


def test_a_run_that_was_recorded_on_a_gpu_goes_on_without_one(
    detector: Detector, world: World, capsys: pytest.CaptureFixture
) -> None:
    choose_kernels(detector, TrainConfig(cuda_graphs=True, compile=True, resume="runs/train/exp"), 16, world)
    said = "".join(capsys.readouterr())
    assert "--compile gains nothing on cpu" in said and "--cuda-graphs gains nothing on cpu" in said


def test_compiled_layers_compute_the_same_under_the_same_names(detector: Detector) -> None:
    names, average = list(detector.state_dict()), copy.deepcopy(detector)
    images = torch.rand(1, 3, 64, 64)
    expected = [raw.sum() for raw in copy.deepcopy(detector).train()(images)]
    compile_layers(detector.train(), backend="eager")
    torch.testing.assert_close([raw.sum() for raw in detector(images)], expected)
    assert list(detector.state_dict()) == names
    layers = list(zip(detector.model, average.model, strict=True))
    assert all(layer._compiled_call_impl is not None for layer, _ in layers[:10])
    assert all(layer._compiled_call_impl is None for _, layer in layers)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_a_device_skips_an_update_by_itself(name: str, world: World, detector: Detector) -> None:
    # The very first update is the hard one: the optimizer has no state yet.
    optimizer: Any = SimpleNamespace(optimizer=build_optimizer(detector, TrainConfig(optimizer=name)))
    optimizer.step = optimizer.optimizer.step
    world.skips.on_device = True
    weight = next(detector.parameters())
    before, norms = weight.detach().clone(), []
    for value in (float("nan"), 0.1):
        for parameter in detector.parameters():
            parameter.grad = torch.full_like(parameter, value)
        applied = world.apply(optimizer, torch.tensor(value))
        assert isinstance(applied, Tensor)
        norms.append((bool(applied), torch.equal(weight, before)))
    assert norms == [(False, True), (True, False)]
    assert all(bool(parameter.isfinite().all()) for parameter in detector.parameters())
    assert all(bool(value.isfinite().all()) for state in optimizer.optimizer.state.values() for value in state.values())
    assert world.skips.numbers.tolist() == [1, 0]


def test_gradients_are_clipped_to_the_same_bits_as_torch_does(world: World, detector: Detector) -> None:
    for parameter in detector.parameters():
        parameter.grad = torch.rand_like(parameter)
    other = copy.deepcopy(detector)
    for parameter, original in zip(other.parameters(), detector.parameters(), strict=True):
        assert original.grad is not None
        parameter.grad = original.grad.clone()
    expected = torch.nn.utils.clip_grad_norm_(other.parameters(), 10.0)
    assert torch.equal(world.clip(detector, 10.0), expected)
    for parameter, original in zip(other.parameters(), detector.parameters(), strict=True):
        assert parameter.grad is not None and original.grad is not None
        assert torch.equal(parameter.grad, original.grad)
    assert world.gradient_norms is not None
    assert len(world.gradient_norms) == len(list(detector.parameters()))


def test_images_enter_in_the_type_of_the_first_convolution_and_channels_last() -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 16, 16, 3)
    exact = network_input(images, torch.float32)
    half = network_input(images, torch.bfloat16)
    assert torch.equal(half, exact.bfloat16()), "rounded once, as autocast would have rounded it"
    assert exact.is_contiguous(memory_format=torch.channels_last)
    assert half.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images.flatten()[:3], torch.arange(3, dtype=torch.uint8)), "the batch itself is not changed"
    resized = network_input(images, torch.bfloat16, (32, 32))
    assert resized.shape == (1, 3, 32, 32) and resized.dtype == torch.bfloat16


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has the switch")
def test_memory_of_freed_tensors_is_used_again_without_asking_the_kernel(run_processes: Callable) -> None:
    # In a process of its own: in one that has done much, what was freed may have been cut up meanwhile.
    (faults,) = run_processes(1, faults_of_a_later_block)
    if faults is None:
        pytest.skip("this C library has no such switch")
    assert faults < 64 * 2**20 / 4096 / 10


def faults_of_a_later_block() -> int | None:
    import resource

    if not keep_freed_memory():
        return None

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = torch.ones(64 * 2**20 // 4)  # more than glibc would ever keep
        del block
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    # What lies in between at first is filled up; from then on there is room.
    return [faults() for _ in range(4)][-1]
