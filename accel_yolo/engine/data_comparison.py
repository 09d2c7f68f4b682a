"""The data of all machines held against each other: which machine differs, in which file, and in what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from accel_yolo.config.data_union import DataUnion
from accel_yolo.data.fingerprints import ImageDifference, Kind, fingerprints, image_differences
from accel_yolo.data.label_paths import PLACES, label_path_of
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.engine.comparison import OddOne, named, odd_one_out, places_of, require_equal
from accel_yolo.engine.messages import Messages
from accel_yolo.engine.run_facts import name_facts
from accel_yolo.errors import DataError, UserError, printable

SPLIT_NAMES = {"train": "training data", "val": "validation data", "test": "test data"}


def compare_data(world: Messages, union: DataUnion, indices: Mapping[str, SplitIndex]) -> None:
    """Stop all processes unless all of them have the same classes, images and labels.

    Args:
        world: all processes; each calls this.
        union: the data sets as this process reads them.
        indices: the index of each split that is used, by the name of the split.

    Raises:
        PeerError: a class has another name on some machine.
        DataError: naming the machine that differs, the first file and what differs in it.
    """
    require_equal(world, name_facts(union.names))
    for split, index in indices.items():
        difference = data_difference(world, union, split, index)
        if difference is not None:
            raise difference


def data_difference(world: Messages, union: DataUnion, split: str, index: SplitIndex) -> UserError | None:
    """Return the error for a split in which machines differ, None if they do not; equal on all processes."""
    digests = world.gather_text(index.digest)
    odd = odd_one_out(places_of(world), digests)
    if odd is None:
        return None
    kinds = {spec.format for spec in union.specs}
    copy = _Copy(world, odd, index, kinds.pop() if len(kinds) == 1 and kinds <= PLACES.keys() else "")
    what = f"{'machines' if world.machines > 1 else 'processes'} differ in the {SPLIT_NAMES.get(split, split)}"
    value = copy.difference(str(union.root)) or f"digest {digests[odd.rank][:12]}"
    remedy = "copy the data set again, for example with rsync -a --delete"
    return world.common(DataError(what, named(world, odd.rank), value, remedy))


@dataclass(frozen=True)
class _Copy:
    """The split as this process has it, and who differs. Only that one and its counterpart send tables."""

    world: Messages
    odd: OddOne
    index: SplitIndex
    label_kind: str

    def difference(self, root: str) -> str:
        """Return the first file that differs and how, and how many images do; "" if no image does."""
        takes_part = self.world.rank in (self.odd.rank, self.odd.usual_rank)
        tables = self.world.gather_bytes(fingerprints(self.index, root).tobytes() if takes_part else b"")
        usual, odd = (
            np.frombuffer(tables[rank], np.uint64).reshape(-1, 3) for rank in (self.odd.usual_rank, self.odd.rank)
        )
        found = image_differences(usual, odd)
        if not found:
            self.world.gather_text("")
            return ""
        told = self.world.gather_text(self._details(found[0]))
        text = _described(found[0], json.loads(told[self.odd.rank]), json.loads(told[self.odd.usual_rank]),
                          named(self.world, self.odd.usual_rank))  # fmt: skip
        others = f" (and {len(found) - 1} more images differ)" if len(found) > 1 else ""
        return text + others

    def _details(self, difference: ImageDifference) -> str:
        """Return what this process knows of the image: its path, number of objects, and label file."""
        rows = {self.odd.usual_rank: difference.row, self.odd.rank: difference.other_row}
        row = rows.get(self.world.rank, -1)
        if row < 0:
            return json.dumps(["", 0, ""])
        path = self.index.paths[row]
        file = label_path_of(path, self.label_kind) if self.label_kind else ""
        return json.dumps([path, len(self.index.labels_of(row)), file])


def _described(difference: ImageDifference, odd: list, usual: list, other: str) -> str:
    """Return what differs in an image.

    Args:
        difference: its kind.
        odd: path, number of objects and label file ("" if it has none) on the machine that differs.
        usual: the same on the other.
        other: what the other is called.
    """
    (path, objects, file), (usual_path, usual_objects, _) = odd, usual
    if difference.kind is Kind.MISSING:
        return f"{printable(usual_path)} is missing or unusable, {other} has it"
    if difference.kind is Kind.EXTRA:
        return f"{printable(path)} is there, {other} does not have it"
    if difference.kind is Kind.CONTENT:
        return f"the image {printable(path)} has another content than on {other}"
    counts = f"{objects} objects, {usual_objects} on {other}" if objects != usual_objects else f"not those of {other}"
    return f"{f'{printable(file)} holds' if file else f'the image {printable(path)} has'} other labels: {counts}"
