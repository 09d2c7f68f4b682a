"""Optimizer and its parameter groups; its state as named tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.schedule import decayed

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


def parameter_groups(model: nn.Module) -> dict[str, list[tuple[str, nn.Parameter]]]:
    """Return the trainable parameters by group: "bias" and "norm" without weight decay, "decay" with."""
    groups: dict[str, list[tuple[str, nn.Parameter]]] = {"bias": [], "decay": [], "norm": []}
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            kind = "bias" if name == "bias" else "norm" if isinstance(module, _NORMS) else "decay"
            groups[kind].append((f"{module_name}.{name}" if module_name else name, parameter))
    return groups


FUSED_ON = ("cpu", "cuda")
"""Devices on which one call of torch updates all parameters."""


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return SGD (Nesterov, if it has momentum), Adam or AdamW over the three groups, fused where the device allows."""
    decays = {"bias": 0.0, "decay": decayed(config), "norm": 0.0}
    groups: list[dict[str, Any]] = [
        {"params": [parameter for _, parameter in members], "weight_decay": decays[name], "name": name}
        for name, members in parameter_groups(model).items()
        if members
    ]
    hyp, parameters = config.hyp, [parameter for group in groups for parameter in group["params"]]
    # With the loss scaler of fp16 a fused optimizer would hide from Accelerate that a step was skipped.
    fused = config.precision != "fp16" and all(parameter.device.type in FUSED_ON for parameter in parameters)
    if config.optimizer != "SGD":
        kind = torch.optim.Adam if config.optimizer == "Adam" else torch.optim.AdamW
        return kind(groups, lr=hyp.lr0, betas=(hyp.momentum, 0.999), fused=fused)
    optimizer = torch.optim.SGD(groups, lr=hyp.lr0, momentum=hyp.momentum, nesterov=hyp.momentum > 0, fused=fused)
    for parameter in parameters if fused else ():
        # Made here, because torch would leave them unwritten if the first step of all were skipped on the device.
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def laid_like(tensor: Tensor, other: Tensor) -> Tensor:
    """Return a copy of `tensor` with type, device and order in memory of `other`, which has the same shape.

    Fused optimizers walk through the memory of parameter, gradient and state side by side and do not check it.
    """
    return torch.empty_like(other, requires_grad=False).copy_(tensor.view(other.shape))


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as "parameter name/slot" -> tensor, in the same order wherever it came from."""
    return {
        f"{name}/{slot}": torch.as_tensor(value).detach()
        for name, parameter in model.named_parameters()
        for slot, value in sorted(optimizer.state.get(parameter, {}).items())
        if value is not None
    }


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put a state of `optimizer_tensors` back."""
    parameters = dict(model.named_parameters())
    fused = any(group.get("fused") for group in optimizer.param_groups)
    for key, value in tensors.items():
        name, slot = key.rsplit("/", 1)
        parameter = parameters[name]
        if slot == "step":  # a counter in float32: with the parameter if fused, else on the host
            placed = value.clone().to(parameter.device) if fused else value.clone()
        else:
            placed = laid_like(value, parameter)
        optimizer.state[parameter][slot] = placed
