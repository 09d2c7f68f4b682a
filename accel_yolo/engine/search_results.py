"""What a search leaves for its user: table, picture, the best recipe, and as little else as possible."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from accel_yolo import console
from accel_yolo.engine.search_settings import StudySettings
from accel_yolo.engine.search_study import PICTURE, RECIPE, TABLE, Study
from accel_yolo.files import write_text_atomic
from accel_yolo.reports.search_plot import plot
from accel_yolo.reports.search_table import BEST_COLUMNS, TrialRow, best_rows, ranked, table_csv
from accel_yolo.version import __version__


def write_results(study: Study) -> list[TrialRow]:
    """Write table, picture and recipe, drop the weights that are no longer the best, and return the trials.

    The study must be locked.
    """
    rows = study.rows()
    write_text_atomic(study.folder / TABLE, table_csv(rows))
    best = ranked(rows)[:1]
    if best:
        write_text_atomic(study.folder / RECIPE, _recipe(best[0], rows, study.settings, study.folder))
    if any(row.fitness is not None for row in rows):
        plot(rows, study.settings.genes, study.folder / PICTURE)
    keep = {row.number for row in [*best, *(row for row in rows if row.state == "running")]}
    for row in rows:
        folder = study.trials / f"{row.number:04d}"
        if row.number not in keep:
            shutil.rmtree(folder / "weights", ignore_errors=True)
        if row.state != "running":
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return rows


def _recipe(best: TrialRow, rows: Sequence[TrialRow], settings: StudySettings, folder: Path) -> str:
    """Return the best recipe as a hyper-parameter file that says where it comes from."""
    metrics = zip(("precision", "recall", "mAP50", "mAP50-95"), best.metrics, strict=True)
    complete = sum(row.counts for row in rows)
    heading = [
        f"Hyper-parameters of trial {best.number}, the best of {complete} complete ones",
        f"Study {folder.absolute()}, accel_yolo {__version__}",
        f"Fitness {best.fitness:.5g} after epoch {best.best_epoch + 1} of {settings.config.epochs}: "
        + ", ".join(f"{name} {value:.5g}" for name, value in metrics),
        f"Trained on {' '.join(settings.config.data)} from {settings.config.weights or settings.config.cfg}",
        f"Searched: {', '.join(gene.name for gene in settings.genes)}",
    ]
    values = {name: best.hyp[name] for name in (gene.name for gene in settings.genes)}
    return "".join(f"# {line}\n" for line in heading) + "\n" + settings.hyp_text(values)


def tell_best(study: Study, rows: Sequence[TrialRow], program: str, words: Sequence[str]) -> None:
    """Print the best trials and how to train with the best recipe."""
    console.say("")
    console.table(best_rows(rows), BEST_COLUMNS)
    counts = {state: sum(row.state == state for row in rows) for state in ("complete", "pruned", "failed", "running")}
    shown = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    trials = "1 trial" if len(rows) == 1 else f"{len(rows)} trials"
    console.say(
        f"\n{trials}: {shown}. {TABLE}, {PICTURE}, {RECIPE} in {console.painted(str(study.folder), 'bold')}. Next:"
    )
    console.say(f"  {program} train {shlex.join([*words, '--hyp', str(study.folder / RECIPE)])}")
