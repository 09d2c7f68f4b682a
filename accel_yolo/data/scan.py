"""Verify every image of a split and its labels, several at a time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from accel_yolo import console
from accel_yolo.data.clerks import MOST_CLERKS, Clerks
from accel_yolo.data.formats.yolo import NO_LABELS, Labels, parse_labels
from accel_yolo.data.images import verify
from accel_yolo.data.label_paths import label_path_of, label_paths_of
from accel_yolo.data.listing import read_regular
from accel_yolo.data.outcome import Outcome
from accel_yolo.data.problems import BadFile, Problem
from accel_yolo.data.split_index import Part, Record, part_of
from accel_yolo.data.workers import usable_cores

FEW_IMAGES = 2000
"""Up to so many are verified by threads of this process: others would hardly have started."""
_CHUNK, _CHUNK_OF_MANY = 32, 128


@dataclass(frozen=True)
class LabelRules:
    """What a class may be: below `nc`, or anything (it becomes 0) with `single_cls`."""

    nc: int
    single_cls: bool


def scan(
    paths: Sequence[str], rules: LabelRules, *, workers: int, stop_at_first: bool, title: str
) -> tuple[list[Part], list[Problem]]:
    """Return the usable images, in the order of `paths`, and what is wrong with the others.

    Args:
        paths: absolute image paths, sorted.
        rules: see `LabelRules`.
        workers: processes (for few images: threads) at work; at least one.
        stop_at_first: return as soon as one image is bad.
        title: shown before the progress bar.
    """
    parts: list[Part] = []
    problems = _shared_labels(paths)
    count = max(1, min(workers, usable_cores(), MOST_CLERKS))
    # A name from a list may hold anything; no file has a NUL in its name, and here it parts the names.
    alone = count == 1 or len(paths) <= FEW_IMAGES or any("\0" in path for path in paths)
    at_work = _by_threads(paths, rules, count) if alone else _by_processes(paths, rules, count)
    with at_work as outcomes, console.progress(paths, total=len(paths), desc=title) as bar:
        for outcome in outcomes:
            bar.update(outcome.examined)
            parts.append(outcome.part)
            problems.extend(outcome.problems)
            if stop_at_first and any(problem.drops_image for problem in problems):
                break
    return parts, problems


def answer(question: bytes) -> bytes:
    """Return the outcome of a chunk of images to another process: `Outcome.packed`.

    Args:
        question: the rules as a line of JSON, then the paths, joined by NUL.
    """
    rules, _, paths = question.partition(b"\n")
    return _examined(os.fsdecode(paths).split("\0"), LabelRules(**json.loads(rules))).packed()


@contextlib.contextmanager
def _by_threads(paths: Sequence[str], rules: LabelRules, count: int) -> Iterator[Iterator[Outcome]]:
    pool = ThreadPoolExecutor(count)
    try:
        yield pool.map(lambda chunk: _examined(chunk, rules), _chunks(paths, _CHUNK))
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _by_processes(paths: Sequence[str], rules: LabelRules, count: int) -> Iterator[Iterator[Outcome]]:
    head = json.dumps(asdict(rules)).encode() + b"\n"
    questions = [head + b"\0".join(map(os.fsencode, chunk)) for chunk in _chunks(paths, _CHUNK_OF_MANY)]
    with Clerks(count, __name__) as clerks:
        yield map(Outcome.unpacked, clerks.answers(questions))


def _chunks(paths: Sequence[str], size: int) -> list[Sequence[str]]:
    return [paths[start : start + size] for start in range(0, len(paths), size)]


def _examined(paths: Sequence[str], rules: LabelRules) -> Outcome:
    records: list[Record] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            record = _examine(path, rules)
        except BadFile as bad:
            problems.append(bad.problem)
            continue
        records.append(record)
        problems.extend(_duplicates(path, record.labels))
    return Outcome(len(paths), part_of(records), tuple(problems))


def _examine(path: str, rules: LabelRules) -> Record:
    """Return the facts of one image.

    Raises:
        BadFile: what is wrong with it or its labels.
    """
    content = read_regular(path, "the image cannot be read")
    if content is None:
        raise BadFile(Problem(path, 0, "", "no such file, or not a regular file"))
    size_hw = verify(content, path)
    labels, has_file = _labels_of(path, rules)
    return Record(path, size_hw, labels, has_file, hashlib.sha256(content).digest())


def _labels_of(image_path: str, rules: LabelRules) -> tuple[Labels, bool]:
    file = label_path_of(image_path)
    content = read_regular(file, "the label file cannot be read")
    if content is None:
        if os.path.lexists(file):
            raise BadFile(Problem(file, 0, "", "the label file cannot be read, or is not a regular file"))
        return NO_LABELS, False
    return parse_labels(content, file, nc=rules.nc, single_cls=rules.single_cls), True


def _duplicates(path: str, labels: Labels) -> Iterator[Problem]:
    if labels.duplicates_removed:
        value = str(labels.duplicates_removed)
        yield Problem(label_path_of(path), 0, value, "duplicate rows were left out", drops_image=False)


def _shared_labels(paths: Sequence[str]) -> list[Problem]:
    """Return a warning for each image whose label file is also that of another image (same name, other ending)."""
    files = label_paths_of(paths)
    if len(set(files)) == len(files):
        return []
    owner: dict[str, str] = {}
    problems = []
    for path, file in zip(paths, files, strict=True):
        first = owner.setdefault(file, path)
        if first != path:
            rule = "shares its label file with another image of the same name"
            problems.append(Problem(path, 0, first, rule, drops_image=False))
    return problems
