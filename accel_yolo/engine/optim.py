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


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return SGD with Nesterov momentum, Adam or AdamW over the three groups."""
    decays = {"bias": 0.0, "decay": decayed(config), "norm": 0.0}
    groups: list[dict[str, Any]] = [
        {"params": [parameter for _, parameter in members], "weight_decay": decays[name], "name": name}
        for name, members in parameter_groups(model).items()
        if members
    ]
    hyp = config.hyp
    if config.optimizer == "SGD":
        return torch.optim.SGD(groups, lr=hyp.lr0, momentum=hyp.momentum, nesterov=True)
    kind = torch.optim.Adam if config.optimizer == "Adam" else torch.optim.AdamW
    return kind(groups, lr=hyp.lr0, betas=(hyp.momentum, 0.999))


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as "parameter name/slot" -> tensor, independent of parameter order."""
    return {
        f"{name}/{slot}": torch.as_tensor(value).detach()
        for name, parameter in model.named_parameters()
        for slot, value in optimizer.state.get(parameter, {}).items()
        if value is not None
    }


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put a state of `optimizer_tensors` back."""
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        name, slot = key.rsplit("/", 1)
        parameter = parameters[name]
        # Step counters stay where torch keeps them (host, float32); moments follow their parameter.
        on_device = value if slot == "step" else value.to(parameter.device, parameter.dtype)
        optimizer.state[parameter][slot] = on_device.clone()
