"""Several runs side by side, as plain rows: for the page and for the terminal."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from accel_yolo.config.data_folder import find_data
from accel_yolo.config.dataset import SPLITS
from accel_yolo.config.settings import flag_of
from accel_yolo.errors import UserError
from accel_yolo.reports.html.history import real
from accel_yolo.reports.html.run import Run, read_run
from accel_yolo.reports.html.settings import Setting
from accel_yolo.reports.html.status import Status, status_of
from accel_yolo.reports.html.timing import PARTS, Timing, images_per_s, timing_of, total_s
from accel_yolo.reports.html.verdict import Numbers, numbers_of
from accel_yolo.reports.html.wording import NOTHING, duration, metric, rate, share, signed

NOT_RECIPE = ("project", "name", "exist_ok", "resume", "quiet", "debug", "verbose")
"""Settings that say what a run is called and what it prints: they always differ and never matter."""
NOT_MACHINE = ("env RANK", "env LOCAL_RANK", "env MASTER_PORT")
"""Variables in which a launcher tells a process its place: another port at every start, the same work."""


@dataclass(frozen=True)
class Member:
    """One of the runs: a letter, a name that tells it from the others, and what is known of it."""

    letter: str
    name: str
    run: Run
    status: Status
    numbers: Numbers
    timing: Timing | None

    @property
    def label(self) -> str:
        """What stands in legends."""
        return f"{self.letter} {self.name}"


@dataclass(frozen=True)
class Cell:
    """A value in a table of runs; the best of its column is marked."""

    text: str
    is_best: bool = False
    note: str = ""


def members_of(folders: Sequence[Path], now_s: float | None = None) -> list[Member]:
    """Return the runs in some folders, in their order."""
    runs = [read_run(folder) for folder in folders]
    names = _names(folders)
    members = []
    for place, (run, name) in enumerate(zip(runs, names, strict=True)):
        status = status_of(run, now_s)
        members.append(Member(letter_of(place), name, run, status, numbers_of(run, status), timing_of(run)))
    return members


def letter_of(place: int) -> str:
    """Return A to Z, then A2 to Z2, and so on."""
    round_, letter = divmod(place, len(string.ascii_uppercase))
    return string.ascii_uppercase[letter] + (str(round_ + 1) if round_ else "")


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return ["/".join(each[-2:]) for each in parts]


def summary(members: Sequence[Member]) -> tuple[list[str], list[list[Cell]]]:
    """Return titles and rows of the table of results: a row for each run, the best marked where they compare."""
    marked = _marking(members)
    columns: list[tuple[str, list[Cell]]] = [("State", [Cell(each.status.state) for each in members])]
    for title, values in (
        ("mAP50-95", [each.numbers.map50_95 for each in members]),
        ("mAP50", [each.numbers.map50 for each in members]),
        ("P", [each.numbers.precision for each in members]),
        ("R", [each.numbers.recall for each in members]),
    ):
        columns.append((title, marked([metric(value) for value in values], values)))
    epochs = [_epochs(each) for each in members]
    best = [str(each.status.best_epoch + 1) if each.status.best_epoch is not None else NOTHING for each in members]
    columns += [("Epochs", list(map(Cell, epochs))), ("Best epoch", list(map(Cell, best)))]
    rates = [images_per_s(each.run) for each in members]
    columns.append(("Images/s", marked([rate(value) for value in rates], rates)))
    columns.append(("Duration", [Cell(duration(total_s(each.run))) for each in members]))
    kept = [(title, cells) for title, cells in columns if any(cell.text != NOTHING for cell in cells)]
    return [title for title, _ in kept], [[cells[place] for _, cells in kept] for place in range(len(members))]


def _epochs(member: Member) -> str:
    if not member.run.is_training:
        return NOTHING
    planned = f"/{member.status.planned}" if member.status.planned is not None else ""
    return f"{member.status.epochs}{planned}"


def _marked(texts: Sequence[str], values: Sequence[float | None]) -> list[Cell]:
    """Return cells of which the highest are marked, unless all show the same."""
    there = [value for value in values if value is not None]
    shown = {text for text, value in zip(texts, values, strict=True) if value is not None}
    highest = texts[list(values).index(max(there))] if len(shown) > 1 else None
    return [Cell(text, text == highest) for text in texts]


def _unmarked(texts: Sequence[str], values: Sequence[float | None]) -> list[Cell]:
    return list(map(Cell, texts))


def _marking(members: Sequence[Member]) -> Callable[[Sequence[str], Sequence[float | None]], list[Cell]]:
    """Return what makes cells of values: the highest is marked only where it is a merit."""
    return _unmarked if not_comparable(members) else _marked


def data_of(member: Member) -> tuple[tuple[str, ...], str] | None:
    """Return the places of the data sets of a run and the split that was measured; None where they are not known.

    Names do not tell data sets apart: that of an export by a labelling tool is `data.yaml`, whatever is in it.
    """
    settings = member.run.settings.content
    if settings is None or not settings.words("data"):
        return None
    task = str(settings.value("task", "val"))
    return tuple(map(_place, settings.words("data"))), task if task in SPLITS else "val"


def _place(word: str) -> str:
    """Return the whole path of a data set; the word where that is not known."""
    try:
        return str(find_data(word, "--data")[1].resolve())
    except (UserError, OSError, RuntimeError):  # it is gone, or was never here
        return str(Path(word).absolute()) if Path(word).suffix else word


def same_data(members: Sequence[Member]) -> bool:
    """Return whether nothing says that the runs were measured on different data sets or splits."""
    return len({data for each in members if (data := data_of(each)) is not None}) <= 1


def _told_data(members: Sequence[Member]) -> str:
    """Return on what each run was measured, as short as tells the different ones apart."""
    known = [data_of(each) for each in members]
    different = set(filter(None, known))
    forms: list[Callable[[tuple[tuple[str, ...], str]], str]] = [
        lambda data: " ".join(Path(place).stem for place in data[0]),
        lambda data: f"{' '.join(Path(place).stem for place in data[0])} ({data[1]})",
        lambda data: f"{' '.join(data[0])} ({data[1]})",
    ]
    form = next((form for form in forms if len(set(map(form, different))) == len(different)), forms[-1])
    texts = [form(data) if data is not None else "unknown" for data in known]
    return ", ".join(f"{each.letter} {text}" for each, text in zip(members, texts, strict=True))


def not_comparable(members: Sequence[Member]) -> str:
    """Return why the metrics do not measure the same; "" where nothing speaks against it."""
    if not same_data(members):
        return f"Measured on different data ({_told_data(members)}): the metrics do not say which is better."
    sizes = {(each.numbers.images, each.numbers.objects) for each in members if each.numbers.images is not None}
    if len(sizes) > 1:
        listed = ", ".join(f"{each.letter} {each.numbers.images}" for each in members)
        return f"Measured on different numbers of images ({listed}): differences of metrics may come from that."
    return ""


def differing_settings(members: Sequence[Member]) -> list[tuple[str, list[Cell]]]:
    """Return the settings that are not the same in all runs whose settings are known, each value with its origin."""
    known = [
        {row.name: row for row in each.run.settings.content.rows} if each.run.settings.content else None
        for each in members
    ]
    names = list(dict.fromkeys(name for rows in known if rows for name in rows))
    found = []
    for name in names:
        rows = [rows.get(name) if rows is not None else None for rows in known]
        values = {row.value if row else NOTHING for row, of_run in zip(rows, known, strict=True) if of_run is not None}
        if len(values) > 1 and name not in NOT_RECIPE:
            title = next(_title(row) for row in rows if row is not None)
            found.append((title, [Cell(row.value, note=row.origin) if row else Cell(NOTHING) for row in rows]))
    return found


def _title(row: Setting) -> str:
    return row.name if row.is_hyp else flag_of(row.name)


def differing_classes(members: Sequence[Member]) -> list[tuple[str, list[Cell], str]]:
    """Return AP (mAP50-95) of every class, and the spread of it; the largest spread first."""
    tables = [
        {row.name: row.map50_95 for row in each.run.metrics.content.per_class} if each.run.metrics.content else {}
        for each in members
    ]
    names = dict.fromkeys(name for table in tables for name in table)
    marked = _marking(members)
    found = []
    for name in names:
        values = [table.get(name) for table in tables]
        there = [value for value in values if value is not None]
        spread = max(there) - min(there) if len(there) > 1 else 0.0
        # Of two runs the sign says which way it went.
        told = (values[1] or 0.0) - (values[0] or 0.0) if len(members) == 2 and len(there) == 2 else None
        text = signed(told) if told is not None else metric(spread) if len(there) > 1 else NOTHING
        found.append((spread, name, marked([metric(value) for value in values], values), text))
    return [(name, cells, text) for _, name, cells, text in sorted(found, key=lambda row: -row[0])]


def differing_sizes(members: Sequence[Member]) -> list[tuple[str, list[Cell]]]:
    """Return COCO's AP by size of object."""
    tables = [each.run.metrics.content.by_size if each.run.metrics.content else {} for each in members]
    names = dict.fromkeys(name for table in tables for name in table)
    marked = _marking(members)
    rows = []
    for name in names:
        values = [table[name].ap if name in table else None for table in tables]
        rows.append((name, marked([metric(value) for value in values], values)))
    return rows


def times(members: Sequence[Member]) -> list[tuple[str, list[Cell]]]:
    """Return where the time of each training went, and its memory; nothing where no run recorded it."""
    rows = []
    for key, name, _ in PARTS:
        parts = [
            next((p for p in each.timing.parts if p.key == key), None) if each.timing else None for each in members
        ]
        rows.append((name, [Cell(duration(p.seconds), note=share(p.share)) if p else Cell(NOTHING) for p in parts]))
    rows.append(("all", [Cell(duration(each.timing.total_s)) if each.timing else Cell(NOTHING) for each in members]))
    memory = [_memory(each.run) for each in members]
    rows.append(("most memory of a process", [Cell(f"{each:.0f} MiB") if each else Cell(NOTHING) for each in memory]))
    return rows if any(each.timing for each in members) else []


def _memory(run: Run) -> float | None:
    history = run.history.content
    found = [value for row in (history.epochs if history else ()) if (value := real(row, "memory/process_mib"))]
    return max(found, default=None)


def differing_environment(members: Sequence[Member]) -> list[tuple[str, list[Cell]]]:
    """Return what is not the same where the runs ran: topology and environment of their last starts."""
    facts: list[dict[str, str]] = []
    for each in members:
        sessions = each.run.sessions.content or []
        if not sessions:
            facts.append({})
            continue
        of = sessions[-1].topology
        lines = {f"batch ({number + 1})" if number else "batch": line for number, line in enumerate(of.lines)}
        topology = {
            "processes": str(of.processes),
            "machines": str(of.machines),
            "device": of.devices_shown,
            "threads per process": str(of.threads_per_process or NOTHING),
            "precision": of.precision,
            **lines,
        }
        # What is free now is another number at every start.
        environment = {
            name: str(fact)
            for name, fact in sessions[-1].environment.items()
            if "free" not in name and name not in NOT_MACHINE
        }
        facts.append({**topology, **environment})
    names = dict.fromkeys(name for table in facts for name in table)
    rows = []
    for name in names:
        values = [table.get(name, NOTHING) for table in facts]
        if len({value for value, table in zip(values, facts, strict=True) if table}) > 1:
            rows.append((name, [Cell(value) for value in values]))
    return rows
