"""Verify every image of a split and its labels, several at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from accel_yolo import console
from accel_yolo.data.formats.yolo import NO_LABELS, Labels, label_path_of, parse_labels
from accel_yolo.data.images import verify
from accel_yolo.data.listing import regular_stat
from accel_yolo.data.problems import BadFile, Problem
from accel_yolo.data.split_index import Record

_CHUNK = 32


@dataclass(frozen=True)
class LabelRules:
    """What a class may be: below `nc`, or anything (it becomes 0) with `single_cls`."""

    nc: int
    single_cls: bool


def scan(
    paths: Sequence[str], rules: LabelRules, *, workers: int, stop_at_first: bool, title: str
) -> tuple[list[Record], list[Problem]]:
    """Return the usable images, in the order of `paths`, and what is wrong with the others.

    Args:
        paths: absolute image paths, sorted.
        rules: see `LabelRules`.
        workers: threads (decoding does not hold the interpreter); at least one runs.
        stop_at_first: return as soon as one image is bad.
        title: shown before the progress bar.
    """
    records: list[Record] = []
    problems = _shared_labels(paths)
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    threads = max(1, min(workers, os.cpu_count() or 1, 16))
    with ThreadPoolExecutor(threads) as pool, console.progress(paths, total=len(paths), desc=title) as bar:
        for outcomes in pool.map(lambda chunk: [_examine(path, rules) for path in chunk], chunks):
            bar.update(len(outcomes))
            for outcome in outcomes:
                records.extend(outcome.records)
                problems.extend(outcome.problems)
            if stop_at_first and any(problem.drops_image for problem in problems):
                pool.shutdown(wait=False, cancel_futures=True)
                break
    return records, problems


@dataclass(frozen=True)
class _Outcome:
    records: tuple[Record, ...]
    problems: tuple[Problem, ...]


def _examine(path: str, rules: LabelRules) -> _Outcome:
    try:
        if regular_stat(path) is None:
            raise BadFile(Problem(path, 0, "", "no such file, or not a regular file"))
        content = _read(path, "the image cannot be read")
        size_hw = verify(content, path)
        labels, has_file = _labels_of(path, rules)
    except BadFile as bad:
        return _Outcome((), (bad.problem,))
    digest = hashlib.sha256(content).digest()
    return _Outcome((Record(path, size_hw, labels, has_file, digest),), tuple(_duplicates(path, labels)))


def _labels_of(image_path: str, rules: LabelRules) -> tuple[Labels, bool]:
    file = label_path_of(image_path)
    if regular_stat(file) is None:
        if os.path.lexists(file):
            raise BadFile(Problem(file, 0, "", "the label file cannot be read, or is not a regular file"))
        return NO_LABELS, False
    content = _read(file, "the label file cannot be read")
    return parse_labels(content, file, nc=rules.nc, single_cls=rules.single_cls), True


def _read(path: str, rule: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadFile(Problem(path, 0, error.strerror or "", rule)) from None


def _duplicates(path: str, labels: Labels) -> Iterator[Problem]:
    if labels.duplicates_removed:
        value = str(labels.duplicates_removed)
        yield Problem(label_path_of(path), 0, value, "duplicate rows were left out", drops_image=False)


def _shared_labels(paths: Sequence[str]) -> list[Problem]:
    """Return a warning for each image whose label file is also that of another image (same name, other ending)."""
    owner: dict[str, str] = {}
    problems = []
    for path in paths:
        first = owner.setdefault(label_path_of(path), path)
        if first != path:
            rule = "shares its label file with another image of the same name"
            problems.append(Problem(path, 0, first, rule, drops_image=False))
    return problems
