"""The commands `accel-yolo data ...`: convert, check, split, stats and show."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from accel_yolo import console
from accel_yolo.config.data_schema import (
    DataCheckConfig,
    DataConvertConfig,
    DataShowConfig,
    DataSplitConfig,
    DataStatsConfig,
)
from accel_yolo.config.data_union import DataUnion, chosen_classes, load_data_union
from accel_yolo.config.dataset import SPLITS, DataSpec
from accel_yolo.data.convert import require_new, write_data_set
from accel_yolo.data.index import examined, summary
from accel_yolo.data.index_cache import Verified
from accel_yolo.data.order import Stream, generator
from accel_yolo.data.problems import Problem
from accel_yolo.data.resplit import split_by_content, write_split
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.data.splits import SplitOptions, kept_names, open_splits, parted
from accel_yolo.data.statistics import SplitStatistics, sizes_px, statistics
from accel_yolo.data.subsets import joined, some_images
from accel_yolo.errors import ConfigError, DataError, printable
from accel_yolo.files import next_run_folder, write_text_atomic
from accel_yolo.inference.output.contact_sheet import contact_sheet
from accel_yolo.inference.output.encoding import write_image
from accel_yolo.reports.data_plot import plot_split
from accel_yolo.shell import program

_LISTED = 50
"""Findings that `check` prints; `--list` writes all."""


def convert(config: DataConvertConfig) -> None:
    """Write a data set in another format. Raises UserError."""
    union, splits = _opened(config.data, config.splits)
    into = _target(config.into, "--into", union)
    options = SplitOptions(False, "drop", config.workers, chosen_classes(union.names, config.classes))
    indices = _indices(union, splits, options, asked=bool(config.splits))
    names = kept_names(union.names, options)
    written = write_data_set(into, indices, names, config.to, copy=config.copy, flag="--into")
    console.say(f"{written.images} images with {written.objects} objects written as {config.to}")
    if written.outlines_left_out:
        console.note(
            f"{written.outlines_left_out} outlines were left out: their objects have other boxes than their extent, "
            "and a line of YOLO holds one of the two"
        )
    console.say(f"Use it with --data {printable(str(written.data))}")


def check(config: DataCheckConfig) -> None:
    """List everything that is wrong with a data set, and write a copy without it if asked to.

    Raises:
        DataError: training would leave images out.
    """
    union, splits = _opened(config.data, config.splits)
    (spec,) = union.specs
    repair = _target(config.repair, "--repair", union) if config.repair else None
    if config.list and Path(config.list).exists():
        raise ConfigError("the file exists", "--list", printable(config.list), "name a new one")
    found = _examined(spec, splits, config.workers)
    problems = [(split, problem) for split, verified in found.items() for problem in verified.problems]
    for split, verified in found.items():
        console.say(summary(verified.index, split))
        for problem in verified.problems[:_LISTED]:
            console.say(f"  {'' if problem.drops_image else 'remark: '}{problem}")
        if len(verified.problems) > _LISTED:
            console.say(f"  ... and {len(verified.problems) - _LISTED} more: --list FILE writes all")
    for remark in _in_several_splits({split: verified.index for split, verified in found.items()}):
        console.say(remark)
    if config.list:
        write_text_atomic(Path(config.list), _as_csv(problems))
        console.say(f"{len(problems)} findings written to {printable(config.list)}")
    if repair is not None:
        indices = {split: verified.index for split, verified in found.items() if len(verified.index)}
        written = write_data_set(repair, indices, union.names, spec.format, copy=False, flag="--repair")
        counts = f"{written.images} images, {written.objects} objects"
        console.say(f"A copy without what is wrong: {counts}, in {printable(str(written.data))}")
    bad = [problem for _, problem in problems if problem.drops_image]
    if bad and repair is None:
        files = len({problem.file for problem in bad})
        remedy = "correct them, or write a copy without what is wrong with --repair FOLDER"
        raise DataError("the data set has problems", union.files, f"{len(bad)} in {files} files", remedy)
    if not bad:
        console.say("No image would be left out" if problems else "Nothing is wrong with it")
        console.say(f"Look at it: {program()} data show --data {shlex.quote(config.data)}")


def split(config: DataSplitConfig) -> None:
    """Split a data set anew. Raises UserError."""
    union, splits = _opened(config.data, config.splits)
    into = _target(config.into, "--into", union)
    indices = _indices(union, splits, SplitOptions(False, "drop", config.workers), asked=bool(config.splits))
    pooled = joined(list(indices.values()))
    _, first = np.unique(np.array(pooled.paths), return_index=True)
    pooled = some_images(pooled, np.sort(first))
    shares = {"train": 1 - config.val - config.test, "val": config.val}
    shares |= {"test": config.test} if config.test else {}
    if shares["train"] <= 0:
        remedy = "give shares that add up to less than 1"
        raise DataError("nothing is left to train on", "--val and --test", f"{config.val} and {config.test}", remedy)
    parts = split_by_content(pooled, shares, config.seed)
    data = write_split(into, pooled, parts, union.names, union.specs[0].format)
    for name, images in parts.items():
        console.say(f"{name}: {len(images)} images, {len(some_images(pooled, images).labels)} objects")
    console.say(f"Train on it with --data {printable(str(data))}")


def stats(config: DataStatsConfig) -> None:
    """Count and measure a data set. Raises UserError."""
    union, splits = _opened(config.data, config.splits)
    indices = _indices(union, splits, SplitOptions(False, "drop", config.workers), asked=bool(config.splits))
    names = list(union.names.values())
    found = {name: statistics(index, union.names, config.imgsz) for name, index in indices.items()}
    for name, each in found.items():
        _show_statistics(name, each, config.imgsz)
    if config.into:
        folder = next_run_folder(Path(config.into).parent, Path(config.into).name)
        content = {name: each.as_dict() for name, each in found.items()}
        write_text_atomic(folder / "stats.json", json.dumps(content, indent=1) + "\n")
        for name, index in indices.items():
            title = f"{name}: {len(index)} images, {len(index.labels)} objects at {config.imgsz} px"
            plot_split(folder / f"{name}.png", title, names, index.labels, sizes_px(index, config.imgsz))
        console.say(f"Written to {printable(str(folder))}: stats.json, {', '.join(f'{name}.png' for name in found)}")


def show(config: DataShowConfig) -> None:
    """Draw images of a data set with their boxes on one sheet for each split. Raises UserError."""
    union, splits = _opened(config.data, config.splits)
    classes = chosen_classes(union.names, config.classes)
    options = SplitOptions(False, "drop", config.workers, classes, renumbered=False)
    indices = _indices(union, splits, options, asked=bool(config.splits))
    folder = next_run_folder(Path(config.into).parent, Path(config.into).name)
    for name, index in indices.items():
        shown = np.flatnonzero(np.diff(index.label_starts)) if classes else np.arange(len(index))
        if not len(shown):
            raise DataError("no image shows these classes", name, " ".join(config.classes))
        drawn = generator(config.seed, 0, 0, Stream.ORDER).permutation(shown)[: config.images]
        sheet = contact_sheet(index, sorted(drawn.tolist()), union.names, columns=config.columns, tile_px=config.tile)
        file = write_image(folder / f"{Path(config.data).stem}-{name}.jpg", sheet)
        console.say(f"{name}: {len(drawn)} of {len(shown)} images in {printable(str(file))}")
    console.say(f"Train on it: {program()} train --data {shlex.quote(config.data)}")


def _examined(spec: DataSpec, splits: Sequence[str], workers: int) -> dict[str, Verified]:
    """Return what is good of each split and what is wrong; images of which some are held out are looked at once."""
    if not spec.held_out:
        return {split: examined(spec, split, workers=workers) for split in splits}
    found = {split: examined(spec, split, workers=workers) for split in splits if split != "val"}
    whole = found.pop("train", None) or examined(spec, "val", workers=workers)
    parts = parted(whole.index, spec.held_out)
    both = {"train": replace(whole, index=parts["train"]), "val": Verified(parts["val"], ())}
    return {split: both[split] for split in splits if split in both} | found


def _target(folder: str, flag: str, union: DataUnion) -> Path:
    """Return the folder that is to be written, which is new and not among the images of the data set.

    Raises:
        ConfigError: it is not.
    """
    target = Path(folder)
    require_new(target, flag)
    for spec in union.specs:
        for place in (*spec.train, *spec.val, *spec.test):
            if place.is_dir() and target.resolve().is_relative_to(place.resolve()):
                remedy = "name one outside: its images would be taken for those of the data set"
                raise ConfigError("the folder lies in the data set", flag, printable(folder), remedy)
    return target


def _indices(union: DataUnion, splits: Sequence[str], options: SplitOptions, *, asked: bool) -> dict[str, SplitIndex]:
    """Return the index of each split; a test split that nobody named may be without labels, and is then left out."""
    indices = {}
    for name in splits:
        try:
            indices |= open_splits(union, (name,), options)
        except DataError as error:
            if asked or name != "test":
                raise
            console.note(f"the test split is left out: {error}")
    return indices


def _opened(data: str, splits: Sequence[str]) -> tuple[DataUnion, tuple[str, ...]]:
    """Return a data set and the splits that are meant: those named, else all that it has."""
    union = load_data_union((data,), tuple(splits) or None, complete=False)
    (spec,) = union.specs
    if splits:
        return union, tuple(splits)
    # The test split of a published data set often has no labels, and is then not on disk.
    is_there = bool(spec.test) and all(place.exists() for place in spec.test)
    return union, tuple(name for name in SPLITS if (is_there if name == "test" else spec.split(name)))


def _in_several_splits(indices: dict[str, SplitIndex]) -> list[str]:
    """Return a remark about images that are in more than one split, by their content."""
    remarks = []
    names = list(indices)
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            shared = np.intersect1d(indices[first].content_keys, indices[second].content_keys)
            if len(shared):
                remarks.append(f"  remark: {len(shared)} images are in {first} and in {second}")
    return remarks


def _as_csv(problems: Sequence[tuple[str, Problem]]) -> str:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(("split", "file", "line", "value", "rule", "drops_image"))
    for split_name, problem in problems:
        place = printable(problem.file), problem.line or "", printable(problem.value), printable(problem.rule)
        rows.writerow((split_name, *place, problem.drops_image))
    return text.getvalue()


def _show_statistics(name: str, found: SplitStatistics, imgsz: int) -> None:
    outlines = f" ({found.outlines} with outlines)" if found.outlines else ""
    counts = f"{found.images} images, {found.labelled} with objects; {found.objects} objects{outlines}"
    console.say(f"\n{console.painted(name, 'bold')}: {counts}, at most {found.most_objects} in one image")
    sizes = (f"{width} x {height}" for height, width in (found.smallest_hw, found.median_hw, found.largest_hw))
    console.say("image sizes: {} px smallest, {} px median, {} px largest side by side".format(*sizes))
    if found.same_content:
        console.say(f"{found.same_content} images are copies of others")
    rows = []
    for each in sorted(found.classes, key=lambda each: -each.objects):
        shares = [f"{share:.0%}" for share in (each.small, each.medium, each.large)]
        median = "{:g} x {:g}".format(*each.median_wh_px)
        rows.append((printable(each.name), each.images, each.objects, *shares, median))
    console.table(rows, ("class", "images", "objects", "small", "medium", "large", f"median px at {imgsz}"))
