"""How the gradients of micro-batches and processes become one: exchanged by DDP, or added in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from accel_yolo import waypoints
from accel_yolo.engine.batches import DeviceBatch, MicroBatch
from accel_yolo.engine.batchnorm import GroupedBatchNorm2d
from accel_yolo.engine.optim import laid_like
from accel_yolo.engine.own_share import OwnShare
from accel_yolo.engine.world import World
from accel_yolo.models.detector import Detector


class Gradient:
    """The default: micro-batches accumulate, DDP exchanges while the last backward pass of an update still runs.

    Attributes:
        sums: [L, 3] float32, the loss sums of the step: of this process's share.
        sharers: processes over which `sums` are spread.
        own: what this process saw of its share of the step.
    """

    def __init__(self, model: nn.Module, detector: Detector, world: World) -> None:
        self._model, self._detector, self._world = model, detector, world
        self.own = OwnShare(detector, world.device)
        self._grouped = [layer for layer in detector.modules() if isinstance(layer, GroupedBatchNorm2d)]
        self.sums = torch.zeros(len(detector.strides), 3, device=world.device)
        self.sharers = world.size

    def micro_batches(self, batch: DeviceBatch, *, exchange: bool) -> Iterator[MicroBatch]:
        """Yield the micro-batches of a step, each to be followed by `backward`.

        Args:
            batch: the step.
            exchange: this step completes an update: afterwards the parameters hold the gradient of all processes.
        """
        self.own.begin()
        last = batch.parts[-1]
        for part in batch.parts:
            waypoints.reach("forward")
            with self._world.gradient_sync(self._model, on=exchange and part is last):
                yield part
        self.sums = self.own.sums
        for layer in self._grouped:
            layer.fold()

    def backward(self, loss: Tensor, sums: Tensor) -> None:
        """Run the backward pass, so that the exchanged gradient is the *sum* of the losses of all processes.

        DDP averages over processes; the factor undoes it. The loss must already be divided by global counts.

        Args:
            loss: this micro-batch's part of the loss of the whole batch.
            sums: [L, 3] its loss sums.
        """
        waypoints.reach("backward")
        self._world.backward(_spoilt(loss) * self._world.size)
        self.own.add(sums)

    def settle_statistics(self, local_images: int) -> None:
        """Make the running statistics equal on all processes, after an update and before the weight average."""
        self._world.average_buffers(self._detector, local_images)

    def total(self, terms: Tensor) -> Tensor:
        """Return the sum over all processes of something that was computed from `sums`, on the host in float64."""
        return self._world.sum(terms.cpu().double())


def _spoilt(loss: Tensor) -> Tensor:
    """Return the same loss; where it is not finite, its gradient is not either, so that all processes get to see it."""
    return loss * (1 + 0 * loss.detach())


class OrderedGradient(Gradient):
    """`--bit-exact`: whatever is summed over images is added micro-batch by micro-batch in the global order.

    A micro-batch is one BatchNorm group, so what is computed from it depends on nothing else. Gradients, loss sums
    and the statistics of BatchNorm are laid into one row per micro-batch and the rows added one after the other, from
    the first process to the last. The result has the same bits for any number of processes.
    """

    def __init__(self, model: nn.Module, detector: Detector, world: World) -> None:
        super().__init__(model, detector, world)
        self._parameters = [parameter for parameter in detector.parameters() if parameter.requires_grad]
        self._held = torch.zeros(sum(parameter.numel() for parameter in self._parameters))
        self.sharers = 1

    def micro_batches(self, batch: DeviceBatch, *, exchange: bool) -> Iterator[MicroBatch]:
        """Yield the micro-batches of a step, each to be followed by `backward`; see `Gradient.micro_batches`."""
        rows = []
        self.own.begin()
        for part in batch.parts:
            waypoints.reach("forward")
            yield part
            rows.append(self._taken_row())
        statistics = sum(2 * layer.num_features for layer in self._grouped)
        start = torch.cat((self._held, self._held.new_zeros(statistics + self.sums.numel())))
        waypoints.reach("exchange")
        total = self._world.sum_in_order(rows, start)
        self._held, seen, sums = total.split([self._held.numel(), statistics, self.sums.numel()])
        self.sums = sums.view_as(self.sums)
        groups = batch.global_images // batch.parts[0].images.shape[0]
        for layer, pair in zip(
            self._grouped, seen.split([2 * layer.num_features for layer in self._grouped]), strict=True
        ):
            layer.step_running(*(pair / groups).chunk(2))
        if exchange:
            self._hand_over()

    def backward(self, loss: Tensor, sums: Tensor) -> None:
        """Run the backward pass of one micro-batch; nothing is exchanged."""
        waypoints.reach("backward")
        self._world.backward(_spoilt(loss))
        self.sums = sums.detach()
        self.own.add(sums)

    def settle_statistics(self, local_images: int) -> None:
        """Do nothing: the statistics are those of all processes already."""

    def total(self, terms: Tensor) -> Tensor:
        """Return `terms`: they are those of all processes already."""
        return terms.cpu().double()

    def _taken_row(self) -> Tensor:
        """Return gradients, statistics and loss sums of the last micro-batch as one row, and forget them."""
        pieces = [parameter.grad for parameter in self._parameters]
        for parameter in self._parameters:
            parameter.grad = None
        pieces += [value for layer in self._grouped for value in layer.taken()]
        return torch.cat([piece.reshape(-1) for piece in (*pieces, self.sums) if piece is not None])

    def _hand_over(self) -> None:
        """Give the parameters the gradient of the update, and start the next one from nothing."""
        pieces = self._held.split([parameter.numel() for parameter in self._parameters])
        for parameter, piece in zip(self._parameters, pieces, strict=True):
            parameter.grad = laid_like(piece, parameter)
        self._held = torch.zeros_like(self._held)
