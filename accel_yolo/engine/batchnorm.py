"""What BatchNorm sees is a recipe value: the local batch, the global batch, or fixed groups of images."""

# B images here, C channels, G groups

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F


def convert_batchnorm(module: nn.Module, *, sync: bool, group: int, world_size: int) -> None:
    """Replace the BatchNorm layers of `module` in place by the kind the recipe asks for; state-dict keys stay.

    Args:
        module: its own BatchNorm2d children are replaced, whatever their depth.
        sync: statistics over the global batch.
        group: statistics over each `group` consecutive images of the global order; 0 for none.
        world_size: with one process the global batch *is* the local one.
    """
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            if group:
                setattr(module, name, _like(GroupedBatchNorm2d(child.num_features, group), child))
            elif sync and world_size > 1:
                kind = nn.SyncBatchNorm if child.weight.device.type == "cuda" else CrossProcessBatchNorm2d
                setattr(module, name, _like(kind(child.num_features), child))
        else:
            convert_batchnorm(child, sync=sync, group=group, world_size=world_size)


def describe_batchnorm(*, sync: bool, group: int, seen: tuple[int, int], world_size: int) -> str:
    """Return the line that says over how many images BatchNorm takes its statistics.

    Args:
        sync: over all processes.
        group: over fixed groups of so many images; 0 for none.
        seen: least and most images of one forward pass of a process.
        world_size: number of processes.
    """
    if group:
        return f"BatchNorm over groups of {group} images"
    if sync and world_size > 1:
        return f"BatchNorm over all {world_size} processes, {as_range(*seen)} images of each"
    low_high = f"BatchNorm over {as_range(*seen)} images"
    return f"{low_high} (each process's own)" if world_size > 1 else low_high


def as_range(low: int, high: int) -> str:
    """Return "8" or "7 to 8"."""
    return str(low) if low == high else f"{low} to {high}"


def _like(new: Any, old: nn.BatchNorm2d) -> nn.Module:
    new.eps, new.momentum, new.training = old.eps, old.momentum, old.training
    for name, parameter in old.named_parameters(recurse=False):
        setattr(new, name, parameter)
    for name, buffer in old.named_buffers(recurse=False):
        new.register_buffer(name, buffer)
    return new


class GroupedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm whose statistics come from each group of consecutive images, independent of any other process.

    The running statistics take one step of `momentum` towards the mean over the groups of a step, however many forward
    passes (micro-batches) the step has. That update is linear, so the image-weighted mean over processes equals what
    one process with the whole batch would hold.
    """

    def __init__(self, num_features: int, group: int) -> None:
        super().__init__(num_features)
        self.group = group
        self._seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised batch, same shape [B, C, H, W]; B must be a multiple of the group in training."""
        if not self.training:
            return super().forward(input)
        images = input.shape[0]
        if images % self.group:
            raise ValueError(f"{images} images do not divide into groups of {self.group}")
        parts = []
        for part in input.split(self.group):
            # A momentum of one writes the group's own statistics into the two scratch tensors.
            mean, var = torch.zeros_like(self.running_mean), torch.ones_like(self.running_var)  # pyright: ignore[reportArgumentType]
            parts.append(F.batch_norm(part, mean, var, self.weight, self.bias, True, 1.0, self.eps))
            self._seen.append((mean, var))
        return torch.cat(parts)

    def taken(self) -> tuple[Tensor, Tensor]:
        """Return the sums over groups of mean and unbiased variance, both [C], since the last call; forget them."""
        mean_sum, var_sum = torch.zeros_like(self._seen[0][0]), torch.zeros_like(self._seen[0][1])
        for mean, var in self._seen:
            mean_sum, var_sum = mean_sum + mean, var_sum + var
        self._seen = []
        return mean_sum, var_sum

    def fold(self) -> None:
        """Take the step of the running statistics that the forward passes of a training step call for."""
        if self._seen:
            groups = len(self._seen)
            mean_sum, var_sum = self.taken()
            self.step_running(mean_sum / groups, var_sum / groups)

    def step_running(self, mean: Tensor, unbiased_var: Tensor) -> None:
        """Move the running statistics one step of `momentum` towards `mean` and `unbiased_var`, both [C]."""
        _step_running(self, mean, unbiased_var)


class CrossProcessBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over the batches of all processes, on any device and backend, with uneven shares.

    torch's SyncBatchNorm refuses CPU tensors; this is the same mathematics (Ioffe and Szegedy 2015, with global sums).
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised local batch, same shape [B, C, H, W]."""
        if not self.training:
            return super().forward(input)
        output, mean, var, count = _CrossProcessNorm.apply(input, self.weight, self.bias, self.eps)  # pyright: ignore[reportGeneralTypeIssues]
        _step_running(self, mean, var * (count / (count - 1)))
        return output


def _step_running(layer: nn.BatchNorm2d, mean: Tensor, unbiased_var: Tensor) -> None:
    with torch.no_grad():
        layer.num_batches_tracked.add_(1)  # pyright: ignore[reportOptionalMemberAccess]
        layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), layer.momentum)  # pyright: ignore
        layer.running_var.lerp_(unbiased_var.to(layer.running_var.dtype), layer.momentum)  # pyright: ignore


class _CrossProcessNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, ...]:
        images = input.to(torch.promote_types(input.dtype, torch.float32))
        count = images.numel() // images.shape[1]
        # Two passes (mean, then squares about it): a single pass loses digits when the mean is large.
        sums = torch.cat((images.sum((0, 2, 3)), images.new_tensor([float(count)])))
        dist.all_reduce(sums)
        total = sums[-1]
        mean = sums[:-1] / total
        centred = images - mean[None, :, None, None]
        var = centred.square().sum((0, 2, 3))
        dist.all_reduce(var)
        var = var / total
        scale = torch.rsqrt(var + eps)
        normal = centred * scale[None, :, None, None]
        ctx.save_for_backward(normal, weight, scale, total)
        ctx.mark_non_differentiable(mean, var, total)
        output = normal * weight[None, :, None, None] + bias[None, :, None, None]
        return output.to(input.dtype), mean, var, total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        normal, weight, scale, total = ctx.saved_tensors
        grad = grads[0].to(normal.dtype)
        grad_bias, grad_weight = grad.sum((0, 2, 3)), (grad * normal).sum((0, 2, 3))
        sums = torch.stack((grad_bias, grad_weight))
        dist.all_reduce(sums)
        mean_grad, mean_projection = (sums / total)[:, None, :, None, None]
        grad_input = (grad - mean_grad - normal * mean_projection) * (weight * scale)[None, :, None, None]
        return grad_input.to(grads[0].dtype), grad_weight.to(weight.dtype), grad_bias.to(weight.dtype), None
