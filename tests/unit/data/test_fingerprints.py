"""Two copies of a data set compared image by image: which image differs, and in what."""

from __future__ import annotations

import numpy as np
import pytest

from accel_yolo.data.fingerprints import Kind, fingerprints, image_differences
from accel_yolo.data.formats.record import Labels
from accel_yolo.data.split_index import CONTENT_BYTES, Record, SplitIndex, assemble, part_of
from accel_yolo.files import sha256_bytes

ROOT = "/d"
NAMES = ("a.jpg", "b.jpg", "c.jpg")
OUTLINE = np.array([[0.1, 0.1], [0.3, 0.1], [0.2, 0.4]], np.float32)


def record(
    name: str, *, content: str = "", box: float = 0.5, polygon: np.ndarray = OUTLINE, root: str = ROOT
) -> Record:
    rows = np.array([[0, box, 0.5, 0.2, 0.2], [1, 0.5, 0.5, 0.1, 0.1]], np.float32)
    digest = bytes.fromhex(sha256_bytes((content or name).encode()))[:CONTENT_BYTES]
    return Record(f"{root}/images/{name}", (24, 32), Labels(rows, (polygon, polygon[:0])), True, digest)


def index_of(*records: Record, root: str = ROOT) -> SplitIndex:
    return assemble([part_of(records)], root, dropped=0)


def compared(first: SplitIndex, second: SplitIndex) -> list[tuple[Kind, int, int]]:
    found = image_differences(fingerprints(first, ROOT), fingerprints(second, ROOT))
    return [(difference.kind, difference.row, difference.other_row) for difference in found]


EQUAL = index_of(*(record(name) for name in NAMES))


def test_equal_copies_have_equal_fingerprints_wherever_they_lie() -> None:
    there = index_of(*(record(name, root="/somewhere/else") for name in NAMES), root="/somewhere/else")
    np.testing.assert_array_equal(fingerprints(EQUAL, ROOT), fingerprints(there, "/somewhere/else"))
    assert fingerprints(EQUAL, ROOT).dtype == np.uint64


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        (record("b.jpg", content="other"), Kind.CONTENT),
        (record("b.jpg", box=0.4), Kind.LABELS),
        (record("b.jpg", polygon=OUTLINE + np.float32(1e-3)), Kind.LABELS),
        (record("b.jpg", polygon=OUTLINE[:0]), Kind.LABELS),
    ],
)
def test_a_changed_image_or_label_is_found_at_its_place(changed: Record, kind: Kind) -> None:
    other = index_of(record("a.jpg"), changed, record("c.jpg"))
    assert compared(EQUAL, other) == [(kind, 1, 1)]


def test_missing_and_extra_images_are_found_and_shift_no_other() -> None:
    fewer = index_of(record("a.jpg"), record("c.jpg"))
    assert compared(EQUAL, fewer) == [(Kind.MISSING, 1, -1)]
    assert compared(fewer, EQUAL) == [(Kind.EXTRA, -1, 1)]
    assert compared(index_of(), EQUAL) == [(Kind.EXTRA, -1, row) for row in range(3)]


def test_all_differences_are_found_in_the_order_of_the_first_copy() -> None:
    other = index_of(record("a.jpg", box=0.1), record("c.jpg", content="x"), record("d.jpg"))
    expected = [(Kind.LABELS, 0, 0), (Kind.MISSING, 1, -1), (Kind.CONTENT, 2, 1), (Kind.EXTRA, -1, 2)]
    assert compared(EQUAL, other) == expected


def test_one_image_of_118_287_is_found() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2**63, (118_287, 3), dtype=np.uint64)
    second = first.copy()
    second[77_777, 2] += np.uint64(1)
    (found,) = image_differences(first, second)
    assert (found.kind, found.row) == (Kind.LABELS, 77_777)
