"""Partner groups: sets of positions whose images make mosaics with each other, so that each is decoded once. Pure.

A group is a few neighbouring places of the batch (its *columns*, usually one) over several steps in a row (its *rows*).
No step, process or worker count enters. Whoever renders a place of the batch renders the whole group, step after step;
and a batch hardly ever shows an image twice, because its places belong to different groups. Groups of neighbouring
columns begin at different steps, so that decoding is spread evenly over the steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from accel_yolo.data.order import steps_per_epoch


@dataclass(frozen=True)
class Group:
    """Steps and places of a partner group.

    Attributes:
        steps: steps of the epoch.
        places: places of the global batch.
        batch: images of the global batch.
    """

    steps: range
    places: range
    batch: int

    def __len__(self) -> int:
        return len(self.steps) * len(self.places)

    def __getitem__(self, number: int) -> int:
        """Return the number-th position of the group, step by step."""
        step, place = divmod(number, len(self.places))
        return self.steps[step] * self.batch + self.places[place]

    def number_of(self, position: int) -> int:
        """Return which of the group a position is."""
        step, place = divmod(position, self.batch)
        return self.steps.index(step) * len(self.places) + self.places.index(place)


@dataclass(frozen=True)
class PartnerGroups:
    """The partner groups of every epoch.

    Attributes:
        count: images of the split.
        batch: images of the global batch.
        size: least images of a group, unless the epoch has fewer.
    """

    count: int
    batch: int
    size: int

    def of(self, position: int) -> Group:
        """Return the group of a position of the epoch, those past the end of the images included."""
        step, place = divmod(position, self.batch)
        steps = steps_per_epoch(self.count, self.batch)
        rows = min(self.size, steps)
        columns = min(-(-self.size // rows), self.batch)
        bands = self.batch // columns
        band = min(place // columns, bands - 1)
        places = range(band * columns, self.batch if band == bands - 1 else (band + 1) * columns)
        return Group(_block(step, steps, rows, band * rows // bands), places, self.batch)


def _block(step: int, steps: int, rows: int, first: int) -> range:
    """Return the block of at least `rows` steps around a step; blocks begin at `first`, short ones join a neighbour."""
    blocks = (steps - first) // rows
    if blocks < 1:
        return range(steps)
    block = min(max((step - first) // rows, 0), blocks - 1)
    start = 0 if block == 0 else first + block * rows
    stop = steps if block == blocks - 1 else first + (block + 1) * rows
    return range(start, stop)
