"""Verify every image of a split and its labels, several at a time."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import xxhash

from accel_yolo import console
from accel_yolo.data.clerks import MOST_CLERKS, Clerks
from accel_yolo.data.formats.coco import CocoLabels
from accel_yolo.data.formats.record import NO_LABELS, LabelRules, Labels
from accel_yolo.data.formats.voc import parse_voc
from accel_yolo.data.formats.yolo import parse_yolo
from accel_yolo.data.images import MAX_IMAGE_BYTES, verify
from accel_yolo.data.label_paths import VOC, YOLO, label_path_of, label_paths_of
from accel_yolo.data.listing import read_regular
from accel_yolo.data.outcome import Outcome
from accel_yolo.data.problems import BadFile, Problem
from accel_yolo.data.room import usable_cores
from accel_yolo.data.split_index import Part, Record, part_of

MAX_LABEL_BYTES = 32 << 20
"""A label file of a thousand outlines with a thousand points each has half of it."""
FEW_IMAGES = 2000
"""Up to so many are verified by threads of this process: others would hardly have started."""
_CHUNK, _CHUNK_OF_MANY = 32, 128


Parser = Callable[[bytes, str, LabelRules, tuple[int, int]], tuple[Labels, list[Problem]]]

PARSERS: Mapping[str, Parser] = {
    YOLO: lambda content, file, rules, _: parse_yolo(content, file, rules),
    VOC: parse_voc,
}
"""Format -> from the bytes and the path of a label file, the rules and the size of its image (height, width) in px to
its objects and what is wrong with its other lines."""

COCO = "coco"
"""The format whose labels do not lie beside the images: they are added here, to images that others have verified."""


def scan(
    paths: Sequence[str],
    rules: LabelRules,
    coco: CocoLabels | None = None,
    *,
    workers: int,
    stop_at_first: bool,
    title: str,
) -> tuple[list[Part], list[Problem]]:
    """Return the usable images, in the order of `paths`, and what is wrong with the others.

    Args:
        paths: absolute image paths, sorted.
        rules: see `LabelRules`.
        coco: the labels of images that have no label files.
        workers: processes (for few images: threads) at work; at least one.
        stop_at_first: return as soon as one image is bad.
        title: shown before the progress bar.
    """
    parts: list[Part] = []
    problems = [] if coco else _shared_labels(paths, rules.format)
    count = max(1, min(workers, usable_cores(), MOST_CLERKS))
    # A name from a list may hold anything; no file has a NUL in its name, and here it parts the names.
    alone = count == 1 or len(paths) <= FEW_IMAGES or any("\0" in path for path in paths)
    at_work = _by_threads(paths, rules, count) if alone else _by_processes(paths, rules, count)
    with at_work as outcomes, console.progress(paths, total=len(paths), desc=title) as bar:
        for outcome in outcomes:
            bar.update(outcome.examined)
            part, found = _labelled(outcome, coco, rules) if coco else (outcome.part, outcome.problems)
            parts.append(part)
            problems.extend(found)
            if stop_at_first and any(problem.drops_image for problem in problems):
                break
    return parts, problems


def answer(question: bytes) -> bytes:
    """Return the outcome of a chunk of images to another process: `Outcome.packed`.

    Args:
        question: the rules as a line of JSON, then the paths, joined by NUL.
    """
    head, _, paths = question.partition(b"\n")
    rules = json.loads(head)
    rules["names"] = tuple(rules["names"])
    return _examined(os.fsdecode(paths).split("\0"), LabelRules(**rules)).packed()


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
            record, found = _examine(path, rules)
        except BadFile as bad:
            problems.append(bad.problem)
            continue
        records.append(record)
        problems.extend(found)
        if record.labels.duplicates_removed:
            problems.append(_duplicates(label_path_of(path, rules.format), record.labels))
    return Outcome(len(paths), part_of(records), tuple(problems))


def _examine(path: str, rules: LabelRules) -> tuple[Record, list[Problem]]:
    """Return the facts of one image, and what is wrong with objects that are left out of it.

    Raises:
        BadFile: what is wrong with it or its labels.
    """
    content = read_regular(path, "the image cannot be read", MAX_IMAGE_BYTES)
    if content is None:
        raise BadFile(Problem(path, 0, "", "no such file, or not a regular file"))
    size_hw = verify(content, path)
    labels, has_file, problems = _labels_beside(path, size_hw, rules)
    return Record(path, size_hw, labels, has_file, xxhash.xxh3_128_digest(content)), problems


def _labels_beside(path: str, size_hw: tuple[int, int], rules: LabelRules) -> tuple[Labels, bool, list[Problem]]:
    """Return the objects in the label file of an image, whether there is one, and what is wrong with other objects.

    Raises:
        BadFile: the file cannot be read, or something is wrong and the rules are not lenient.
    """
    if rules.format == COCO:
        return NO_LABELS, False, []
    file = label_path_of(path, rules.format)
    content = read_regular(file, "the label file cannot be read", MAX_LABEL_BYTES)
    if content is None:
        if os.path.lexists(file):
            raise BadFile(Problem(file, 0, "", "the label file cannot be read, or is not a regular file"))
        return NO_LABELS, False, []
    labels, problems = PARSERS[rules.format](content, file, rules, size_hw)
    if problems and not rules.lenient:
        raise BadFile(problems[0])
    return labels, True, problems


def _labelled(outcome: Outcome, coco: CocoLabels, rules: LabelRules) -> tuple[Part, list[Problem]]:
    """Return verified images with their labels from elsewhere, and what is wrong; bad images are named by their id."""
    problems = [
        replace(problem, rule=f"{problem.rule} (image id {coco.id_of(problem.file)})") for problem in outcome.problems
    ]
    part, records = outcome.part, []
    for path, size_hw, digest in zip(part.paths, part.sizes_hw.tolist(), part.content_digests, strict=True):
        size = size_hw[0], size_hw[1]
        labels, found = coco.labels_of(path, size, rules)
        problems.extend(found if rules.lenient else found[:1])
        if labels.duplicates_removed:
            problems.append(_duplicates(path, labels))
        if rules.lenient or not found:
            records.append(Record(path, size, labels, len(labels.rows) > 0, digest.tobytes()))
    return part_of(records), problems


def _duplicates(file: str, labels: Labels) -> Problem:
    return Problem(file, 0, str(labels.duplicates_removed), "duplicate rows were left out", drops_image=False)


def _shared_labels(paths: Sequence[str], kind: str) -> list[Problem]:
    """Return a warning for each image whose label file is also that of another image (same name, other ending)."""
    files = label_paths_of(paths, kind)
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
