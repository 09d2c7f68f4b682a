"""The search of hyper-parameters: train a trial, tell the study, choose the next. Any number of these share a study."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from accel_yolo import console
from accel_yolo.config.genes import chosen_genes
from accel_yolo.config.hyp_file import read_hyp_file
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.config.launching import plan_launch
from accel_yolo.config.schema import Hyp
from accel_yolo.config.search_words import AskedSearch, several_machines
from accel_yolo.config.settings import rules_of
from accel_yolo.engine.launched import adopt_launch
from accel_yolo.engine.search_results import tell_best, write_results
from accel_yolo.engine.search_settings import StudySettings
from accel_yolo.engine.search_study import JOURNAL, Claim, Study, require_optuna
from accel_yolo.engine.search_trial import HYP, LOG, TrialTraining, asked_to_stop
from accel_yolo.errors import CheckpointError, ConfigError, DataError, EnvironmentFault, PeerError, UserError
from accel_yolo.files import next_run_folder
from accel_yolo.reports.search_table import TrialRow, ranked
from accel_yolo.shell import program

POLL_S = 0.25
_USERS = (ConfigError.exit_code, DataError.exit_code, CheckpointError.exit_code)
"""Exit statuses of what no other hyper-parameters would mend."""


_SURROUNDINGS = (EnvironmentFault.exit_code, PeerError.exit_code)
"""Exit statuses of what the next trial would meet as well: a full disk, a device that is gone."""


class SearchEnded(UserError):
    """The search ends before its trials are done: interrupted, or by an error of the training itself."""

    def __init__(self, exit_code: int, what: str, remedy: str = "") -> None:
        super().__init__(what, remedy=remedy)
        self.exit_code = exit_code


class _Stop:
    """The signal that asks this process to stop, noticed between two looks at the training."""

    number = 0

    def note(self, number: int, _: FrameType | None) -> None:
        """Keep the number of a signal."""
        self.number = number


def search(asked: AskedSearch, launch: LaunchConfig) -> None:
    """Work on a study until its trials are done, and report.

    Raises:
        UserError: settings that cannot be, an error that every trial would meet, or the search was interrupted.
    """
    require_optuna()
    _require_one_process(asked, launch)
    genes = chosen_genes(asked.search.search, asked.config)
    settings = StudySettings.of(asked.config, genes, prune=not asked.search.no_prune)
    first = [settings.start, *_population(asked.search.population, settings)]
    folder = Path(asked.search.study)
    if asked.is_new:
        folder = next_run_folder(folder.parent, folder.name)
    with _writable(folder):
        _work(Study.open(folder, settings, first), asked)


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Turn what the disk refuses into one line."""
    try:
        yield
    except json.JSONDecodeError as error:
        remedy = "restore the file, or choose another --study"
        raise EnvironmentFault("the journal of the study is damaged", str(folder / JOURNAL), error, remedy) from error
    except (OSError, NotImplementedError) as error:  # the latter is how a file system without locks answers
        reason = getattr(error, "strerror", None) or error
        raise EnvironmentFault(
            "cannot work on the study", str(folder), reason, "check space, rights and locks"
        ) from error


def _work(study: Study, asked: AskedSearch) -> None:
    size = f"{asked.search.trials} trials over {len(study.settings.genes)} hyper-parameters"
    name = console.painted(str(study.folder), "bold")
    console.say(f"Study {name}: {size}, for the highest fitness (0.1 mAP50 + 0.9 mAP50-95)")
    console.say(f"A trial writes what a training prints to {study.trials}/<number>/{LOG}")
    _tell_moved(study.settings)
    with _heeded() as stop:
        rows = _Worker(study, asked, stop).work()
    tell_best(study, rows, program(), asked.training_words())


def _require_one_process(asked: AskedSearch, launch: LaunchConfig) -> None:
    if adopt_launch().size > 1:
        remedy = "start it without a launcher: each trial starts its own processes (--processes, --device)"
        error = ConfigError("a search was started by a launcher", remedy=remedy)
        error.already_reported = console.is_follower()
        raise error
    plan = plan_launch(launch, asked.config.device, asked.launch)
    if plan is not None and plan.machines > 1:
        raise several_machines(plan.asked_by, plan.machines)


def _population(folder: str, settings: StudySettings) -> list[dict[str, float]]:
    """Return the values of the hyper-parameter files in a folder, in the order of their names.

    Raises:
        ConfigError: there are none, or one cannot be read.
    """
    if not folder:
        return []
    paths = sorted(path for path in Path(folder).glob("*") if path.suffix in (".yaml", ".yml"))
    if not paths:
        raise ConfigError("no hyper-parameter files", "--population", folder, "name a folder of YAML files")
    found = []
    for path in paths:
        read = {name: value for name, value in read_hyp_file(path).items() if name in rules_of(Hyp)}
        named = {gene.name: gene.fitted(read[gene.name]) for gene in settings.genes if read.get(gene.name) is not None}
        found.append({**settings.start, **named})
    return found


def _tell_moved(settings: StudySettings) -> None:
    hyp = settings.hyp({})
    moved = [
        f"{name} {hyp[name]:g} to {value:g}" for name, value in settings.start.items() if hyp.get(name, value) != value
    ]
    if moved:
        console.note(f"the first trial is the starting recipe, moved into the ranges: {', '.join(moved)}")


@contextlib.contextmanager
def _heeded() -> Iterator[_Stop]:
    """Note signals instead of obeying them at once, so that no record of the study is left half made."""
    stop = _Stop()
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if _is_heard(number)]
    earlier = {number: signal.signal(number, stop.note) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _is_heard(number: signal.Signals) -> bool:
    return signal.getsignal(number) != signal.SIG_IGN  # `nohup` has one ignored, and it stays so


class _Worker:
    """This process, one of those that may work on the study."""

    def __init__(self, study: Study, asked: AskedSearch, stop: _Stop) -> None:
        self._study, self._asked, self._stop = study, asked, stop
        self._trials, self._epochs = asked.search.trials, asked.config.epochs

    def work(self) -> list[TrialRow]:
        """Train trials until none is left for this process, and return all of them."""
        while claim := self._study.claim(self._trials):
            try:
                if self._stop.number:
                    raise self._interrupted(claim, self._stop.number)
                self._announce(claim)
                self._trial(claim)
            finally:
                claim.lock.release()
        with self._study.locked():
            rows = write_results(self._study)
        running = [row.number for row in rows if row.state == "running"]
        if running:
            console.say(f"\nOthers are still at work on {_numbers(running)}; nothing is left to begin here")
        if not ranked(rows) and not running:
            last = next((row.error for row in reversed(rows) if row.error), "none was trained to its end")
            raise SearchEnded(1, f"no trial succeeded: {last}", f"see {self._study.trials}")
        return rows

    def _announce(self, claim: Claim) -> None:
        kind = "goes on where another process left it" if claim.taken_over else ""
        start = "the starting recipe" if claim.number == 0 and not kind else kind
        console.say(f"Trial {claim.number} ({claim.number + 1} of {self._trials}){': ' if start else ''}{start}")

    def _trial(self, claim: Claim) -> None:
        """Train one trial and record how it ended."""
        progress = claim.folder.progress(self._epochs)
        code, outcome, words = 0, "complete", ""
        if progress != "finished":
            training = TrialTraining(claim.folder, self._words(claim, resume=progress == "resumable"), claim.lock)
            try:
                code, outcome = self._followed(claim, training)
            finally:
                training.stop()
            words = training.last_words(code) if code else ""
        if asked_to_stop(code) and outcome != "pruned":
            raise self._interrupted(claim, asked_to_stop(code))
        if outcome == "complete" and (code or claim.folder.best is None):
            outcome, words = "failed", words or "no epoch was validated"
        if outcome == "failed" and code in _SURROUNDINGS and "memory" not in words:
            command = f"{program()} {self._asked.command(self._study.folder)}"
            raise SearchEnded(code, words, f"trial {claim.number} is kept; mend that, then continue with: {command}")
        with self._study.locked():
            if outcome == "failed" and code in _USERS and not any(row.metrics for row in self._study.rows()):
                raise SearchEnded(code, words)
            self._study.report(claim, claim.folder.results)
            self._study.finish(claim, outcome, words if outcome == "failed" else "")
            rows = write_results(self._study)
        self._tell(claim.number, rows)

    def _followed(self, claim: Claim, training: TrialTraining) -> tuple[int, str]:
        """Watch a training to its end and return its exit status and "complete", or "pruned" if it fell behind."""
        while True:
            code = training.ended(POLL_S)
            if self._stop.number:
                training.stop()
                raise self._interrupted(claim, self._stop.number)
            if code is not None:
                return code, "complete"
            results = claim.folder.results
            if not any(result.epoch not in claim.reported for result in results):
                continue
            with self._study.locked():
                self._study.report(claim, results)
                behind = self._study.falls_behind(claim)
            if behind and results[-1].epoch + 1 < self._epochs:
                training.stop()
                return 0, "pruned"

    def _interrupted(self, claim: Claim, number: int) -> SearchEnded:
        word = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
        command = f"{program()} {self._asked.command(self._study.folder)}"
        return SearchEnded(128 + number, f"{word}; trial {claim.number} is kept", f"continue with: {command}")

    def _words(self, claim: Claim, *, resume: bool) -> list[str]:
        path = claim.folder.path
        if resume:
            return [*self._asked.resuming_words(), "--resume", str(path)]
        own = ["--hyp", str(path / HYP), "--project", str(path.parent), "--name", path.name, "--exist-ok", "--noplots"]
        return [*self._asked.training_words(), *own]

    def _tell(self, number: int, rows: list[TrialRow]) -> None:
        (row,) = (row for row in rows if row.number == number)
        best = ranked(rows)[:1]
        time = f"{row.seconds:.0f} s" if row.seconds is not None else ""
        if row.error:
            console.warn(f"trial {number} failed: {row.error}")
            return
        fitness = f"fitness {row.fitness:.4f}" if row.fitness is not None else "no result"
        record = f", best {best[0].fitness:.4f} (trial {best[0].number})" if best else ""
        ended = "ended early, " if row.state == "pruned" else ""
        console.say(f"  {ended}{fitness} after epoch {row.best_epoch + 1}, {time}{record}")


def _numbers(numbers: list[int]) -> str:
    return f"trial {numbers[0]}" if len(numbers) == 1 else f"trials {', '.join(map(str, numbers))}"
