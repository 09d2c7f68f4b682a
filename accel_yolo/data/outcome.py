"""What the verification of some images has found, and how it travels from one process to another: without pickle."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace

import numpy as np

from accel_yolo.data.problems import Problem
from accel_yolo.data.split_index import Part, part_of

_ARRAYS = ("sizes_hw", "label_counts", "labels", "polygon_lengths", "polygons", "has_label_file", "content_digests")


@dataclass(frozen=True)
class Outcome:
    """What the verification of some images has found.

    Attributes:
        examined: how many they were.
        part: the usable ones.
        problems: what is wrong with the others.
    """

    examined: int
    part: Part
    problems: tuple[Problem, ...]

    def packed(self) -> bytes:
        """Return it as bytes: a line of JSON, then the paths and arrays."""
        arrays = {name: getattr(self.part, name) for name in _ARRAYS}
        paths = b"\0".join(os.fsencode(path) for path in self.part.paths)
        head = {
            "examined": self.examined,
            "problems": [problem.as_dict() for problem in self.problems],
            "duplicates_removed": self.part.duplicates_removed,
            "paths_bytes": len(paths),
            "rows": [len(array) for array in arrays.values()],
        }
        return b"".join([json.dumps(head).encode(), b"\n", paths, *(array.tobytes() for array in arrays.values())])

    @classmethod
    def unpacked(cls, content: bytes) -> Outcome:
        """Return what was packed, read-only."""
        head_bytes, _, body = content.partition(b"\n")
        head = json.loads(head_bytes)
        names = os.fsdecode(body[: head["paths_bytes"]])
        place, arrays = head["paths_bytes"], {}
        nothing = part_of([])
        for name, rows in zip(_ARRAYS, head["rows"], strict=True):
            like = getattr(nothing, name)
            size = rows * int(np.prod(like.shape[1:], dtype=np.int64))
            arrays[name] = np.frombuffer(body, like.dtype, size, place).reshape(rows, *like.shape[1:])
            place += size * like.itemsize
        paths = tuple(names.split("\0")) if names else ()
        part = replace(nothing, paths=paths, duplicates_removed=head["duplicates_removed"], **arrays)
        return cls(head["examined"], part, tuple(Problem(**problem) for problem in head["problems"]))
