"""One entry of a source: an image, a video or a stream, and the name of what is made from it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from accel_yolo.inference.sources.urls import Kind, stem_of_url, without_password


@dataclass(frozen=True)
class Item:
    """What is predicted on.

    Attributes:
        word: a path, a URL, or the number of a camera.
        kind: an image, a video (ends) or a stream (does not end); a "file" is an image or a video of a list, and only
            when it is read is it known which.
        stem: name without suffix for files made from it, distinct within a source.
        number: its place among all items of the source, from 1.
        of: how many items there are.
        content: the encoded image, where it was given and not named.
    """

    word: str
    kind: Kind
    stem: str = ""
    number: int = 1
    of: int = 1
    content: bytes | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The word as people may read it: without a password."""
        return without_password(self.word)

    @property
    def label(self) -> str:
        """Return "image 3/8"."""
        return f"{self.kind} {self.number}/{self.of}"


def numbered(items: Sequence[Item]) -> list[Item]:
    """Return the items with their places and distinct stems."""
    stems = _stems(items)
    return [
        replace(item, stem=stem, number=number, of=len(items))
        for number, (item, stem) in enumerate(zip(items, stems, strict=True), start=1)
    ]


def distinct_stems(paths: Iterable[Path]) -> list[str]:
    """Return one file stem for each path, all different: files made from `a/x.jpg` and `b/x.png` must not meet.

    The first of several keeps its stem ("x"), the others are numbered ("x-2"). Case does not distinguish, because
    on some file systems it does not.
    """
    return _distinct([path.stem for path in paths])


def _stems(items: Sequence[Item]) -> list[str]:
    stems = [_stem(item) for item in items]
    # Files of a video are called clip_12: an image of that name must not meet them.
    ends = {match[1].casefold() for stem in stems if (match := re.fullmatch(r"(.+)_\d+", stem))}
    for place, item in enumerate(items):
        if item.kind != "image" and stems[place].casefold() in ends:
            stems[place] += "-video"
    return _distinct(stems)


def _stem(item: Item) -> str:
    if item.kind == "stream" and item.word.isdecimal():
        return f"camera{item.word}"
    return stem_of_url(item.word, whole=item.kind == "stream") or Path(item.word).stem


def _distinct(names: Sequence[str]) -> list[str]:
    once = {stem for stem, n in Counter(name.casefold() for name in names).items() if n == 1}
    taken, stems = set(once), []
    last: dict[str, int] = {}
    for name in names:
        key = name.casefold()
        stem, number = name, last.get(key, 1)
        while stem.casefold() in taken and key not in once:
            number += 1
            stem = f"{name}-{number}"
        last[key] = number
        taken.add(stem.casefold())
        stems.append(stem)
    return stems
