"""Images on their way to the device: on a stream of their own, so that neither the host nor the device waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Arriving:
    """A tensor that is being copied to the device.

    Attributes:
        tensor: on the device; not to be read before `taken`.
        arrived: event of the copy; None when it is there already.
    """

    tensor: Tensor
    arrived: Any = None

    def taken(self) -> Tensor:
        """Return the tensor; what is asked of the device from now on waits for the copy, the host does not."""
        if self.arrived is not None:
            stream = torch.cuda.current_stream(self.tensor.device)
            stream.wait_event(self.arrived)
            self.tensor.record_stream(stream)  # its memory is not given away while this stream reads it
        return self.tensor


class Transfer:
    """Copies of batches from host memory that is written again and again."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._arrived: list[Any] = []

    def start(self, host: Tensor) -> Arriving:
        """Begin to copy; on a CPU the tensor itself is used. Only copies to CUDA go on in the background."""
        if self._stream is None:
            return Arriving(host.to(self._device))
        with torch.cuda.stream(self._stream):
            tensor = host.to(self._device, non_blocking=True)
            event = self._stream.record_event()
        self._arrived = [*self._arrived[-1:], event]
        return Arriving(tensor, event)

    def finish_all_but_last(self) -> None:
        """Wait until every copy but the last one started is done, so that its host memory may be written."""
        for event in self._arrived[:-1]:
            event.synchronize()
