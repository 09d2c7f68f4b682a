"""Build the verified index of a split: what is usable, what is wrong and where; kept for the next run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from accel_yolo import console, files
from accel_yolo.data import index_cache
from accel_yolo.data.demo import ensure_demo
from accel_yolo.data.formats.yolo import label_path_of
from accel_yolo.data.index_cache import Verified
from accel_yolo.data.listing import list_images
from accel_yolo.data.problems import Problem
from accel_yolo.data.published.obtain import obtain
from accel_yolo.data.scan import LabelRules, scan
from accel_yolo.data.split_index import IndexCounts, SplitIndex, assemble
from accel_yolo.errors import DataError, EnvironmentFault, printable

if TYPE_CHECKING:
    from accel_yolo.config.dataset import DataSpec

__all__ = ["IndexCounts", "SplitIndex", "build_index", "build_indices", "summary"]

LISTED_PROBLEMS = 20
DROPPED_LIMIT = 0.05
"""Largest share of images that may be bad before the run stops (`--bad-data limit`)."""


def build_index(spec: DataSpec, split: str, *, nc: int, single_cls: bool, bad_data: str, workers: int) -> SplitIndex:
    """Return the index of one split of a data set.

    Every image is checked once (decoded where nothing less tells that it is whole), and so is every label line; later
    runs only look at sizes and times of the files.
    The first 20 findings are listed on the console.

    Args:
        spec: the data set.
        split: "train", "val" or "test".
        nc: number of classes.
        single_cls: all classes become 0.
        bad_data: "limit" leaves bad images out and stops above 5 % of them, "drop" never stops, "fail" stops at the
            first.
        workers: processes for the verification (for few images: threads), at most one for each core.

    Raises:
        DataError: the split has no images, no labels, or too many bad images.
    """
    if spec.generator:
        _generate(spec)
    places = spec.split(split)
    if not places:
        raise DataError("the data set has no such split", printable(str(spec.file)), split, f"add '{split}:' to it")
    obtain(spec, places)
    paths, unsearched = list_images(places)
    if not paths:
        raise DataError("no images", _named(places), remedy=f"check '{split}:' of {printable(str(spec.file))}")
    scanning = _Scanning(LabelRules(nc, single_cls), str(spec.root), workers, bad_data == "fail", f"verifying {split}")
    verified = _verified(paths, places, scanning)
    problems = (*unsearched, *verified.problems)
    _judge(problems, verified.index.counts, bad_data)
    _require_labels(verified.index, paths, places)
    return verified.index


def build_indices(
    spec: DataSpec, splits: Sequence[str], *, single_cls: bool, bad_data: str, workers: int
) -> dict[str, SplitIndex]:
    """Return the index of each of some splits of a data set, by its name; see `build_index`."""
    nc = len(spec.names)
    return {
        split: build_index(spec, split, nc=nc, single_cls=single_cls, bad_data=bad_data, workers=workers)
        for split in splits
    }


def summary(index: SplitIndex, split: str) -> str:
    """Return one line for the console: how many images, objects, background and dropped images a split has."""
    counts = index.counts
    parts = [f"{counts.labelled} labelled"]
    parts += [f"{counts.background} background"] if counts.background else []
    parts += [f"{counts.empty} with an empty label file"] if counts.empty else []
    line = f"{split}: {counts.images} images ({', '.join(parts)}), {len(index.labels)} objects"
    line += f", {counts.dropped} images dropped" if counts.dropped else ""
    return line + (f", {counts.duplicates_removed} duplicate rows ignored" if counts.duplicates_removed else "")


@dataclass(frozen=True)
class _Scanning:
    """How to scan when the kept index does not serve."""

    rules: LabelRules
    root: str
    workers: int
    stop_at_first: bool
    title: str

    def run(self, paths: Sequence[str]) -> Verified:
        """Return the index of the usable images and all findings; a bad image is raised if that is asked for."""
        parts, problems = scan(
            paths, self.rules, workers=self.workers, stop_at_first=self.stop_at_first, title=self.title
        )
        if self.stop_at_first:
            _stop_at_bad(problems)
        dropped = len(paths) - sum(len(part.paths) for part in parts)
        return Verified(assemble(parts, self.root, dropped=dropped), tuple(problems))


def _verified(paths: Sequence[str], places: Sequence[Path], scanning: _Scanning) -> Verified:
    """Return the kept index if it still describes the files, else a new one; one process of a machine scans."""
    named = f"nc={scanning.rules.nc} single_cls={scanning.rules.single_cls}"
    file = index_cache.cache_file(places, named)
    # Two things that take time, one of them mostly waiting.
    with ThreadPoolExecutor(1) as beside:
        asked = beside.submit(index_cache.key_of, paths, named)
        kept = index_cache.read(file)
        key = asked.result()
    if kept is not None and kept[0] == key:
        return kept[1]
    with contextlib.ExitStack() as held:
        # Without a lock (a read-only home) every process scans for itself: slower, not wrong.
        with contextlib.suppress(OSError, NotImplementedError, EnvironmentFault):
            held.enter_context(files.locked(file.with_suffix(".lock")))
        kept = index_cache.read(file)
        if kept is not None and kept[0] == key:
            return kept[1]
        verified = scanning.run(paths)
        index_cache.write(file, key, verified)
    return verified


def _generate(spec: DataSpec) -> None:
    if spec.generator != "demo":
        where = f"{printable(str(spec.file))}, key 'generator'"
        raise DataError("unknown generator", where, spec.generator, "the only one is: demo")
    ensure_demo(spec.root)


def _stop_at_bad(problems: Sequence[Problem]) -> None:
    for problem in problems:
        if problem.drops_image:
            raise DataError(
                f"bad data ({problem.rule})", _place(problem), printable(problem.value) or None, "correct it"
            )


def _judge(problems: Sequence[Problem], counts: IndexCounts, bad_data: str) -> None:
    """List the findings and stop if `bad_data` says so.

    Raises:
        DataError: more bad images than allowed.
    """
    if bad_data == "fail":
        _stop_at_bad(problems)
    bad = [problem for problem in problems if problem.drops_image]
    mild = [problem for problem in problems if not problem.drops_image]
    for problem in (bad + mild)[:LISTED_PROBLEMS]:
        console.warn(f"{'dropped: ' if problem.drops_image else ''}{problem}")
    if len(problems) > LISTED_PROBLEMS:
        console.warn(f"... and {len(problems) - LISTED_PROBLEMS} more")
    found = counts.images + counts.dropped
    if bad_data == "limit" and counts.dropped > DROPPED_LIMIT * found:
        what = f"too many bad images, {counts.dropped} of {found} ({counts.dropped / found:.1%}); the first"
        remedy = "correct these files, or type --bad-data drop to leave such images out"
        raise DataError(what, _place(bad[0]), _finding(bad[0]), remedy)


def _require_labels(index: SplitIndex, paths: Sequence[str], places: Sequence[Path]) -> None:
    if not len(index):
        raise DataError("no usable image", _named(places), f"{len(paths)} images, all bad", "correct these files")
    if not len(index.labels):
        looked = printable(os.path.dirname(label_path_of(paths[0])))  # noqa: PTH120
        raise DataError(
            "no labels", _named(places), f"{len(index)} images without objects", f"labels were looked for in {looked}"
        )


def _place(problem: Problem) -> str:
    return f"{printable(problem.file)}:{problem.line}" if problem.line else printable(problem.file)


def _finding(problem: Problem) -> str:
    return f"{problem.rule}: {printable(problem.value)}" if problem.value else problem.rule


def _named(places: Sequence[Path]) -> str:
    return ", ".join(printable(str(place)) for place in places)
