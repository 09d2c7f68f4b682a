"""Completes a data set as its YAML says: fetched, checked, unpacked beside its place, renamed when it is whole."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from accel_yolo import console, fetch, files
from accel_yolo.config.download import Archive, Download
from accel_yolo.data.published import argoverse, globalwheat, objects365, sku110k, visdrone, xview
from accel_yolo.data.published.placing import place
from accel_yolo.data.published.step import Step
from accel_yolo.data.room import amount, free_disk_bytes
from accel_yolo.errors import DataError, EnvironmentFault, UserError, printable

if TYPE_CHECKING:
    from accel_yolo.config.dataset import DataSpec

MARKER = ".accel_yolo-download.json"
"""Lies in a data set that was fetched whole; written before the data set gets its name."""

PREPARATIONS: dict[str, Callable[[Path], list[Step]]] = {
    "argoverse": argoverse.steps,
    "globalwheat": globalwheat.steps,
    "objects365": objects365.steps,
    "sku110k": sku110k.steps,
    "visdrone": visdrone.steps,
    "xview": xview.steps,
}
_ASKED_AT_ONCE = 8


def obtain(spec: DataSpec, places: Sequence[Path]) -> None:
    """Fetch the data set if one of `places` is not on disk, and make the labels that its preparation makes.

    One process of a machine works while the others wait. Nothing is asked of the network while everything is there.

    Args:
        spec: the data set.
        places: the folders and lists that are needed.

    Raises:
        DataError: what is there is incomplete, or what came is not the data set.
        EnvironmentFault: no connection, no room, a wrong digest.
    """
    download = spec.download
    if download is None or (_all_there(places) and not _due(download, spec.root)):
        return
    with _turn(spec.root):
        _prepare(download, spec.root)
        if _all_there(places):
            return
        if download.archives and not _holds_something(spec.root):
            _fetch_all(download, spec.root, [place.relative_to(spec.root) for place in _below(places, spec.root)])
        _require(download, spec.root, places)


def _all_there(places: Sequence[Path]) -> bool:
    return all(place.exists() for place in places)


def _below(places: Sequence[Path], root: Path) -> list[Path]:
    return [place for place in places if place.is_relative_to(root)]


def _holds_something(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _require(download: Download, root: Path, places: Sequence[Path]) -> None:
    missing = next((place for place in places if not place.exists()), None)
    if missing is None:
        return
    if (root / MARKER).is_file():
        remedy = f"correct the path in {download.file}, or remove {printable(str(root))} to fetch it again"
        raise DataError("the data set was fetched and does not hold", download.file, printable(str(missing)), remedy)
    way = download.by_hand or f"move {printable(str(root))} away to have it fetched, or complete it by hand"
    raise DataError("the data set is incomplete", printable(str(root)), f"no {printable(str(missing))}", way)


# Fetching


def _fetch_all(download: Download, root: Path, needed: Sequence[Path]) -> None:
    """Build the data set in a folder beside `root`, then rename it: `root` is whole or not there."""
    root = root.resolve()
    workshop = root.with_name(f".{root.name}.partial")
    data, archives = workshop / "data", workshop / "archives"
    goal = root / next(iter(needed), "")
    try:
        done = _done(workshop) if _holds_something(data) else []
        if not set(done) <= {_key(archive) for archive in download.archives}:
            # The YAML has changed: what another version brought must not stay.
            shutil.rmtree(data)
            done = []
        remaining = [archive for archive in download.archives if _key(archive) not in done]
        if remaining:
            _announce(download, root, _with_sizes(remaining, goal), archives)
        archives.mkdir(parents=True, exist_ok=True)
        data.mkdir(exist_ok=True)
        for archive in remaining:
            file = _fetched(archive, archives, goal)
            _placed(file, data / archive.into, workshop / "unpacked", root.name)
            # The disk may lose what is not yet written; the note must not survive it.
            _settle()
            done.append(_key(archive))
            files.write_text_atomic(workshop / "done.json", json.dumps(done))
            file.unlink()
        whole = _data_folder(data, needed)
        _prepare(download, whole)
        marker = {"urls": [archive.url for archive in download.archives]}
        files.write_text_atomic(whole / MARKER, json.dumps(marker, indent=1) + "\n")
        _settle()
        if root.is_dir():
            root.rmdir()  # it is empty
        whole.rename(root)
        files.fsync_dir(root.parent)
        shutil.rmtree(workshop, ignore_errors=True)
    except OSError as error:
        what = error.strerror or error
        raise EnvironmentFault("cannot write", printable(str(root)), what, "check space and rights") from error


def _placed(file: Path, folder: Path, workplace: Path, name: str) -> None:
    """Put what a file holds in place; a bad one is removed, so that it is fetched again the next time."""
    try:
        place(file, folder, workplace, (name,))
    except DataError:
        file.unlink()
        raise


def _settle() -> None:
    if hasattr(os, "sync"):
        os.sync()


def _key(archive: Archive) -> str:
    return f"{archive.url} {archive.sha256 or ''} {archive.into}"


def _done(workshop: Path) -> list[str]:
    """Return what an earlier process has put in place already."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((workshop / "done.json").read_text("utf-8"))
        if isinstance(found, list):
            return [str(key) for key in found]
    return []


def _with_sizes(archives: Sequence[Archive], goal: Path) -> list[Archive]:
    """Return the archives with their sizes, asked of the servers; the first answer tells whether there is a network."""

    def asked(archive: Archive) -> Archive:
        with _how_to_go_on(goal):
            trusted = fetch.is_trusted_http(archive.url, archive.sha256)
            size = fetch.remote_size(archive.url, allow_http=trusted)
        return replace(archive, size=archive.size or size)

    first, *others = archives
    known = [asked(first)]
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        return known + list(pool.map(lambda archive: archive if archive.size else asked(archive), others))


def _announce(download: Download, root: Path, archives: Sequence[Archive], folder: Path) -> None:
    """Say what will be fetched, and stop if there is no room for it."""
    sizes = [archive.size for archive in archives if archive.size is not None]
    total, largest = sum(sizes), max(sizes, default=0)
    some = "at least " if len(sizes) < len(archives) else ""
    count = "1 file" if len(archives) == 1 else f"{len(archives)} files"
    console.note(
        f"fetching the data set of {download.file}: {count}, {some}{amount(total)}, into {printable(str(root))}"
    )
    have = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    # Images barely shrink: unpacked they need what the archives have, and the largest archive is there meanwhile.
    need, free = max(total + largest - have, 0), free_disk_bytes(folder)
    if 0 <= free < need:
        remedy = f"{amount(free)} are free: make room, or choose another place with ACCEL_YOLO_DATASETS_DIR"
        raise EnvironmentFault("no room for the data set", printable(str(root)), f"needs {amount(need)}", remedy)


def _fetched(archive: Archive, folder: Path, goal: Path) -> Path:
    # Several archives may have one name: patch0 of one split and of another.
    digest = files.sha256_bytes(_key(archive).encode())[:8]
    with _how_to_go_on(goal):
        (folder / digest).mkdir(exist_ok=True)
        return fetch.download(
            archive.url,
            folder / digest / archive.name,
            size=archive.size,
            sha256=archive.sha256,
            allow_http=fetch.is_trusted_http(archive.url, archive.sha256),
            resume=True,
        )


@contextlib.contextmanager
def _how_to_go_on(goal: Path) -> Iterator[None]:
    """Say what a person can do where the network does not: what must be there in the end."""
    try:
        yield
    except EnvironmentFault as error:
        remedy = f"{error.remedy}, or get it elsewhere and unpack it so that there is {printable(str(goal))}"
        raise EnvironmentFault(error.what, error.where, error.value, remedy) from error


def _data_folder(data: Path, needed: Sequence[Path]) -> Path:
    """Return the folder that holds what is needed: `data`, or the only folder in it when that does."""
    inside = list(data.iterdir())
    lone = len(inside) == 1 and inside[0].is_dir() and not any((data / place).exists() for place in needed)
    return inside[0] if lone and needed and all((inside[0] / place).exists() for place in needed) else data


# Preparing


def _due(download: Download, root: Path) -> list[Step]:
    if download.prepare is None or not root.is_dir():
        return []
    return [step for step in PREPARATIONS[download.prepare](root) if step.is_due]


def _prepare(download: Download, root: Path) -> None:
    for step in _due(download, root):
        where = printable(str(step.source))
        console.note(f"making labels from {where}")
        try:
            step.make()
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError("damaged annotations", where, str(error)[:100], "get them again") from error
        except OSError as error:
            what = error.strerror or error
            raise EnvironmentFault("cannot make labels", where, what, "check files, space and rights") from error


# One at a time


@contextlib.contextmanager
def _turn(root: Path) -> Iterator[None]:
    """Hold the lock of a data set; say so when that takes longer than a moment."""
    lock = root.with_name(f".{root.name}.lock")
    with contextlib.ExitStack() as held:
        try:
            try:
                held.enter_context(files.locked(lock, 1.0))
            except UserError:
                console.note(f"another process completes {printable(str(root))}; waiting for it")
                held.enter_context(files.locked(lock))
        except OSError as error:
            what = error.strerror or error
            raise EnvironmentFault("cannot write", printable(str(root.parent)), what, "check rights") from error
        yield
