"""Keep a verified index between runs: arrays and JSON without pickle, keyed by path, size and time of every file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from accel_yolo import console, files
from accel_yolo.data import file_states
from accel_yolo.data.clerks import MOST_CLERKS, Clerks
from accel_yolo.data.problems import Problem
from accel_yolo.data.room import usable_cores
from accel_yolo.data.split_index import ARRAYS, IndexCounts, SplitIndex
from accel_yolo.errors import EnvironmentFault, printable

FORMAT = 4
FEW_IMAGES = 20_000
"""Up to so many this process asks for itself: others would hardly have started."""
_CHUNK = 5_000
_MALFORMED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Verified:
    """An index with all findings of the verification behind it.

    Attributes:
        index: the usable images.
        problems: all findings.
        state: of the files that list the images, "" when folders do.
        listed: all images that those files list, the bad ones too; () when folders do.
    """

    index: SplitIndex
    problems: tuple[Problem, ...]
    state: str = ""
    listed: tuple[str, ...] = ()


def cache_file(places: Sequence[Path], rules: str) -> Path:
    """Return where the index of a split is kept: one file for each set of places and rules."""
    name = hashlib.sha256(b"\0".join([*(os.fsencode(place.absolute()) for place in places), rules.encode()]))
    return files.cache_dir() / "index" / f"{name.hexdigest()[:32]}.npz"


def key_of(paths: Sequence[str], label_kind: str, rules: str) -> str:
    """Return a digest over path, size and modification time of every image and label file, and the rules.

    Args:
        paths: of the images.
        label_kind: of their label files, "" for none.
        rules: under which they are verified.

    Each file is asked for its state each time; nothing shorter notices a label file that was edited in place.
    """
    # A name from a list may hold a NUL; such a file cannot exist, and here it parts the names.
    names = [os.fsencode(path) if "\0" not in path else b"" for path in paths]
    head = label_kind.encode() + b"\0"
    questions = [head + b"\0".join(names[start : start + _CHUNK]) for start in range(0, len(names), _CHUNK)]
    digest = hashlib.sha256(f"{FORMAT}\0{rules}\0".encode())
    for question, answer in zip(questions, _answers(questions, len(names)), strict=True):
        digest.update(len(question).to_bytes(8, "little") + question + answer)
    return digest.hexdigest()


def _answers(questions: Sequence[bytes], images: int) -> Iterator[bytes]:
    cores = usable_cores()
    if images <= FEW_IMAGES or cores == 1:
        yield from map(file_states.answer, questions)
        return
    with Clerks(min(cores, MOST_CLERKS, len(questions)), file_states.__name__) as clerks:
        yield from clerks.answers(questions)


def read(file: Path) -> tuple[str, Verified] | None:
    """Return what is kept in `file`, after its key; None if it is missing or damaged."""
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as stored:
            parts = {name: stored[name] for name in (*ARRAYS, "paths", "listed", "meta")}
            if stored["check"].tobytes() != _check(parts):
                return None
        meta = json.loads(parts.pop("meta").tobytes())
        if meta["format"] != FORMAT:
            return None
        paths, listed = (_names(parts.pop(name)) for name in ("paths", "listed"))
        index = SplitIndex(paths=paths, digest=meta["digest"], counts=IndexCounts(**meta["counts"]), **parts)
        problems = tuple(Problem(**problem) for problem in meta["problems"])
        return meta["key"], Verified(index, problems, meta["state"], listed)
    except _MALFORMED:
        return None


def write(file: Path, key: str, verified: Verified) -> None:
    """Keep `verified` in `file`, whole or not at all; where that is impossible, say so and go on."""
    index = verified.index
    meta = {
        "format": FORMAT,
        "key": key,
        "state": verified.state,
        "digest": index.digest,
        "counts": asdict(index.counts),
        "problems": [problem.as_dict() for problem in verified.problems],
    }
    parts = {name: getattr(index, name) for name in ARRAYS}
    for name, paths in (("paths", index.paths), ("listed", verified.listed)):
        parts[name] = np.frombuffer(b"\0".join(os.fsencode(path) for path in paths), np.uint8)
    parts["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **parts, check=np.frombuffer(_check(parts), np.uint8))
    try:
        files.write_bytes_atomic(file, buffer.getvalue())
    except EnvironmentFault as fault:
        console.warn(f"the index is not kept, the next run verifies again: {printable(str(fault))}")


def _names(joined: np.ndarray) -> tuple[str, ...]:
    return tuple(os.fsdecode(joined.tobytes()).split("\0")) if joined.size else ()


def _check(parts: dict[str, np.ndarray]) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(parts):
        array = parts[name]
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.digest()
