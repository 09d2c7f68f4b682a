"""Build the verified index of a split: what is usable, what is wrong and where; kept for the next run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from accel_yolo import console, files
from accel_yolo.data import index_cache
from accel_yolo.data.demo import ensure_demo
from accel_yolo.data.formats.record import LabelRules
from accel_yolo.data.index_cache import Verified
from accel_yolo.data.problems import Problem
from accel_yolo.data.published.obtain import obtain
from accel_yolo.data.scan import scan
from accel_yolo.data.sources import Source
from accel_yolo.data.split_index import IndexCounts, SplitIndex, assemble
from accel_yolo.errors import DataError, EnvironmentFault, printable

if TYPE_CHECKING:
    from accel_yolo.config.dataset import DataSpec

__all__ = ["IndexCounts", "SplitIndex", "build_index", "examined", "summary"]

LISTED_PROBLEMS = 20
DROPPED_LIMIT = 0.05
"""Largest share of images that may be bad before the run stops (`--bad-data limit`)."""


def build_index(spec: DataSpec, split: str, *, single_cls: bool, bad_data: str, workers: int) -> SplitIndex:
    """Return the index of one split of a data set.

    Every image is checked once (decoded where nothing less tells that it is whole), and so is every label; later
    runs only look at sizes and times of the files.
    The first 20 findings are listed on the console.

    Args:
        spec: the data set.
        split: "train", "val" or "test".
        single_cls: all classes become 0.
        bad_data: "limit" leaves bad images out and stops above 5 % of them, "drop" never stops, "fail" stops at the
            first.
        workers: processes for the verification (for few images: threads), at most one for each core.

    Raises:
        DataError: the split has no images, no labels, or too many bad images.
    """
    source, rules = _source(spec, split), _rules(spec, single_cls)
    verified = _verified(source, _Scanning(source, rules, workers, bad_data == "fail", f"verifying {split}"))
    unsearched = () if source.state else source.listing.problems
    _judge((*unsearched, *verified.problems), verified.index.counts, bad_data)
    _require_labels(verified.index, source)
    return verified.index


def examined(spec: DataSpec, split: str, *, workers: int) -> Verified:
    """Return what is good of a split, object by object, and everything that is wrong with the rest; nothing is kept.

    Raises:
        DataError: the split has no images.
    """
    source = _source(spec, split)
    rules = replace(_rules(spec, False), lenient=True)
    scanned = _Scanning(source, rules, workers, False, f"checking {split}").run(source.listing.paths)
    return replace(scanned, problems=(*(() if source.state else source.listing.problems), *scanned.problems))


def _source(spec: DataSpec, split: str) -> Source:
    if spec.generator:
        _generate(spec)
    source = Source(spec, split)
    obtain(spec, source.places)
    return source


def _rules(spec: DataSpec, single_cls: bool) -> LabelRules:
    return LabelRules(tuple(spec.names.values()), single_cls, spec.format)


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

    source: Source
    rules: LabelRules
    workers: int
    stop_at_first: bool
    title: str

    def run(self, paths: Sequence[str]) -> Verified:
        """Return the index of the usable images and all findings; a bad image is raised if that is asked for."""
        if not paths and not self.source.listing.unusable:
            remedy = f"check '{self.source.split}:' of {printable(str(self.source.spec.file))}"
            raise DataError("no images", self.source.named, remedy=remedy)
        coco = self.source.listing.coco
        parts, problems = scan(
            paths, self.rules, coco, workers=self.workers, stop_at_first=self.stop_at_first, title=self.title
        )
        if self.stop_at_first:
            _stop_at_bad(problems)
        dropped = len(paths) + self.source.listing.unusable - sum(len(part.paths) for part in parts)
        index = assemble(parts, str(self.source.spec.root), dropped=dropped)
        if coco is None:
            return Verified(index, tuple(problems))
        return Verified(index, (*self.source.listing.problems, *problems), self.source.state, tuple(paths))


def _verified(source: Source, scanning: _Scanning) -> Verified:
    """Return the kept index if it still describes the files, else a new one; one process of a machine scans."""
    rules = scanning.rules
    named = f"nc={len(rules.names)} single_cls={rules.single_cls}"
    if rules.format != "yolo":
        named += json.dumps(rules.names)
    if source.state:  # where images are looked for
        named += json.dumps([str(source.spec.root), str(source.spec.images.get(source.split, ""))])
    file = index_cache.cache_file(source.places, f"{rules.format} {named}")
    # Two things that take time, one of them mostly waiting.
    with ThreadPoolExecutor(1) as beside:
        reading = beside.submit(index_cache.read, file)
        before = reading.result() if source.state else None
        is_known = before is not None and before[1].state == source.state
        # What a json lists is known from the last time, unless the json has changed.
        paths = list(before[1].listed) if is_known and before else source.listing.paths
        key = index_cache.key_of(paths, source.label_kind, named + source.state)
        kept = reading.result()
    if kept is not None and kept[0] == key:
        console.detail(f"index of {source.split} read from the cache {printable(str(file))}")
        return kept[1]
    with contextlib.ExitStack() as held:
        # Without a lock (a read-only home) every process scans for itself: slower, not wrong.
        with contextlib.suppress(OSError, NotImplementedError, EnvironmentFault):
            held.enter_context(files.locked(file.with_suffix(".lock")))
        kept = index_cache.read(file)
        if kept is not None and kept[0] == key:
            return kept[1]
        verified = scanning.run(source.listing.paths)
        # The files may lie elsewhere than the last time.
        if source.listing.paths != paths:
            key = index_cache.key_of(source.listing.paths, source.label_kind, named + source.state)
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


def _require_labels(index: SplitIndex, source: Source) -> None:
    if not len(index):
        raise DataError(
            "no usable image", source.named, f"{index.counts.dropped} images, all bad", "correct these files"
        )
    if not len(index.labels):
        looked = source.labels_looked_for(index.paths[0])
        raise DataError(
            "no labels", source.named, f"{len(index)} images without objects", f"labels were looked for in {looked}"
        )


def _place(problem: Problem) -> str:
    return f"{printable(problem.file)}:{problem.line}" if problem.line else printable(problem.file)


def _finding(problem: Problem) -> str:
    return f"{problem.rule}: {printable(problem.value)}" if problem.value else problem.rule
