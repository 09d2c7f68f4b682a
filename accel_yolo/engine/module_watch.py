"""`--debug-nan`: which module was the first whose output, or the gradient of it, was not finite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from accel_yolo.models.detector import Detector


class ModuleWatch:
    """Looks at what every module of a detector gives and gets back. Nothing that is computed changes.

    Args:
        detector: its modules are watched from now on; a module speaks after those that it is made of.
    """

    def __init__(self, detector: Detector) -> None:
        self._events: list[str] = []
        self._finite: list[Tensor] = []
        for name, module in detector.named_modules():
            if name:
                module.register_forward_hook(self._hook(f"{name} ({type(module).__name__})"))

    def taken(self, *, forward_only: bool) -> str:
        """Return what was the first in the passes since this was last called, with "{}" for the process; "" if nothing.

        This waits for the device.

        Args:
            forward_only: gradients are scaled, and may overflow.
        """
        events, finite = self._events, self._finite
        self._events, self._finite = [], []
        flags = torch.stack(finite).tolist() if finite else []
        for event, (given, got) in zip(events, flags, strict=True):
            is_gradient = event.startswith("gradient")
            if got or (forward_only and is_gradient):
                continue
            if is_gradient:
                return f"on {{}} the {event} is the first that is not finite on the way back"
            return f"on {{}} the {event} is the first that is not finite; its input is{'' if given else ' not either'}"
        return ""

    def _hook(self, name: str) -> Any:
        def look(_module: nn.Module, inputs: Any, output: Any) -> None:
            if not torch.is_grad_enabled():  # a validation
                return
            given = _all_finite(inputs)
            for part in _tensors(output):
                self._note(f"output of {name}", given, _all_finite(part))
                if part.requires_grad:
                    part.register_hook(lambda gradient: self._look_back(name, gradient))

        return look

    def _look_back(self, name: str, gradient: Tensor) -> None:
        finite = _all_finite(gradient)
        self._note(f"gradient of the output of {name}", finite, finite)

    def _note(self, event: str, given: Tensor, got: Tensor) -> None:
        self._events.append(event)
        self._finite.append(torch.stack((given, got)))


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a tensor, a list or a tuple."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


def _all_finite(value: Any) -> Tensor:
    """Return whether all numbers are finite, bool [] on their device."""
    flags = [part.detach().isfinite().all() for part in _tensors(value)]
    return torch.stack(flags).all() if flags else torch.tensor(True)
