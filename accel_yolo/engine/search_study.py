"""The study in its folder: who works on which trial, and what came out. The only module that knows Optuna.

Everything that is decided from the state of the study is decided under its lock, so that any number of processes on
one folder never begin the same trial twice and never leave one behind.
"""

from __future__ import annotations

import contextlib
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel_yolo.data.order import Stream, generator
from accel_yolo.engine.search_journal import journal_storage
from accel_yolo.engine.search_settings import FILE_NAME, StudySettings
from accel_yolo.engine.search_trial import HYP, LOCK, EpochResult, TrialFolder
from accel_yolo.engine.trial_lock import TrialLock
from accel_yolo.errors import ConfigError, EnvironmentFault
from accel_yolo.files import locked, make_folder, mark_run_folder, write_text_atomic
from accel_yolo.reports.search_table import TrialRow

if TYPE_CHECKING:
    import optuna

NAME = "accel-yolo"
JOURNAL = "journal.log"
_OURS = ("study.lock", f"{JOURNAL}.lock")
"""What may lie in a folder before it is a study."""
TABLE, RECIPE, PICTURE = RESULTS = "trials.csv", "hyp.yaml", "tune.png"
_STARTUP_TRIALS = 5
"""Complete trials before one is compared with them and ended."""


@dataclass
class Claim:
    """A trial that this process works on.

    Attributes:
        number: counted from 0.
        folder: its run folder.
        lock: held while it is worked on.
        trial: Optuna's view of it.
        taken_over: it was begun by a process that is gone.
        reported: the epochs that the study knows already.
    """

    number: int
    folder: TrialFolder
    lock: TrialLock
    trial: Any
    taken_over: bool
    reported: set[int]


class Study:
    """A study that is open in this process."""

    def __init__(self, folder: Path, settings: StudySettings, study: optuna.Study) -> None:
        self.folder, self.settings, self._study = folder, settings, study
        self.trials = folder / "trials"

    @classmethod
    def open(cls, folder: Path, settings: StudySettings, first: Sequence[dict[str, float]]) -> Study:
        """Return the study in a folder, begun if there is none.

        Args:
            folder: made if missing.
            settings: what is searched.
            first: values of the trials that a new study begins with, before it chooses itself.

        Raises:
            ConfigError: the study there is one of something else, or the folder holds other things.
        """
        make_folder(folder)
        with _study_lock(folder):
            if (folder / FILE_NAME).exists():
                if not (folder / JOURNAL).exists():  # whoever began it was interrupted
                    settings.require_same(folder)
                    return cls(folder, settings, _begun(folder, settings, first))
                there = cls(folder, settings, _loaded(folder, settings))
                try:
                    settings.require_same(folder)
                except ConfigError:
                    if not there._is_untried():
                        raise
                else:
                    return there
                # Nothing has come out of it: perhaps its very first training met a mistake that is now mended.
                shutil.rmtree(there.trials, ignore_errors=True)
                (folder / FILE_NAME).unlink()
                (folder / JOURNAL).unlink()
            if any(path.name not in _OURS and not path.name.startswith(".") for path in folder.iterdir()):
                raise ConfigError("not a study, and not empty", "--study", folder, "name another folder")
            settings.save(folder)
            return cls(folder, settings, _begun(folder, settings, first))

    def _is_untried(self) -> bool:
        """Return whether no epoch of any trial has ended, and nobody works on one."""
        for frozen in self._study.get_trials(deepcopy=False):
            if frozen.state.is_finished() or TrialFolder(self._path(frozen.number)).results:
                return False
            if self._path(frozen.number).is_dir():
                lock = self._lock_of(frozen.number)
                if lock is None:
                    return False
                lock.release()
        return True

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the study: nobody else changes it meanwhile."""
        with _study_lock(self.folder):
            yield

    def claim(self, trials: int) -> Claim | None:
        """Return the next trial to work on, None when there is none.

        A trial whose process is gone comes first. Otherwise the next one begins, unless `trials` have begun.
        """
        with self.locked():
            import optuna

            state = optuna.trial.TrialState
            everything = self._study.get_trials(deepcopy=False)
            for frozen in everything:
                if frozen.state == state.RUNNING and (lock := self._lock_of(frozen.number)):
                    trial = optuna.trial.Trial(self._seeded(frozen.number), frozen._trial_id)
                    return self._claimed(trial, lock, taken_over=True)
            waiting = [frozen.number for frozen in everything if frozen.state == state.WAITING]
            if len(everything) - len(waiting) >= trials:
                return None
            number = waiting[0] if waiting else len(everything)
            lock = self._lock_of(number)
            assert lock is not None, "a trial that has not begun is nobody's"
            trial = self._seeded(number).ask()
            assert trial.number == number
            return self._claimed(trial, lock, taken_over=False)

    def _claimed(self, trial: optuna.Trial, lock: TrialLock, *, taken_over: bool) -> Claim:
        folder = TrialFolder(self._path(trial.number))
        # What an interrupted claim has not chosen yet is chosen now, from the same random numbers.
        values = {gene.name: float(_suggested(trial, gene)) for gene in self.settings.genes}
        write_text_atomic(folder.path / HYP, self.settings.hyp_text(values))
        mark_run_folder(folder.path)
        known = set(self._frozen(trial.number).intermediate_values)
        return Claim(trial.number, folder, lock, trial, taken_over, known)

    def report(self, claim: Claim, results: Sequence[EpochResult]) -> None:
        """Tell the study the fitness of the epochs that it does not know yet."""
        for result in results:
            if result.epoch not in claim.reported:
                claim.trial.report(result.fitness, result.epoch)
                claim.reported.add(result.epoch)

    def falls_behind(self, claim: Claim) -> bool:
        """Return whether the newest epoch of a trial is below the median of the others at that epoch."""
        return self.settings.prune and bool(claim.trial.should_prune())

    def finish(self, claim: Claim, outcome: str, error: str = "") -> None:
        """Record the end of a trial: "complete", "pruned" or "failed"."""
        best = claim.folder.best
        if best is not None:
            claim.trial.set_user_attr("best_epoch", best.epoch)
            claim.trial.set_user_attr("metrics", list(best.metrics))
            claim.trial.set_user_attr("fitness", best.fitness)
        if error:
            claim.trial.set_user_attr("error", error)
        import optuna

        state = optuna.trial.TrialState
        if outcome == "complete":
            assert best is not None
            self._study.tell(claim.number, best.fitness)
        else:
            self._study.tell(claim.number, state=state.PRUNED if outcome == "pruned" else state.FAIL)

    def rows(self) -> list[TrialRow]:
        """Return all trials that have begun."""
        names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
        found = []
        for frozen in self._study.get_trials(deepcopy=False):
            if frozen.state.name not in names:
                continue
            told, seconds = frozen.user_attrs, frozen.duration.total_seconds() if frozen.duration else None
            found.append(
                TrialRow(
                    frozen.number,
                    names[frozen.state.name],
                    told.get("fitness"),
                    tuple(told.get("metrics", ())),
                    told.get("best_epoch", -1),
                    self.settings.hyp(frozen.params),
                    seconds,
                    told.get("error", ""),
                )
            )
        return found

    def _frozen(self, number: int) -> optuna.trial.FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _path(self, number: int) -> Path:
        return self.trials / f"{number:04d}"

    def _lock_of(self, number: int) -> TrialLock | None:
        return TrialLock.taken(self._path(number) / LOCK)

    def _seeded(self, number: int) -> optuna.Study:
        """Return the study with the random numbers of a trial: they depend on the seed and its number alone."""
        self._study.sampler = _sampler(self.settings, number)
        return self._study


def _study_lock(folder: Path) -> contextlib.AbstractContextManager[None]:
    return locked(folder / "study.lock")


def _suggested(trial: optuna.Trial, gene: Any) -> float:
    if gene.whole:
        return trial.suggest_int(gene.name, int(gene.low), int(gene.high), log=gene.log)
    return trial.suggest_float(gene.name, gene.low, gene.high, log=gene.log)


def _sampler(settings: StudySettings, number: int) -> optuna.samplers.BaseSampler:
    import optuna

    seed = int(generator(settings.config.seed, 0, number, Stream.SEARCH).integers(2**32))
    # Several workers: a trial that runs counts as a bad one, so that nobody else tries the same nearby.
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _pruner(settings: StudySettings) -> optuna.pruners.BasePruner:
    import optuna

    warmup = settings.config.epochs // 4  # the beginning says little: the learning rate still rises
    return optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=warmup)


def _begun(folder: Path, settings: StudySettings, first: Sequence[dict[str, float]]) -> optuna.Study:
    """Return a new study; its journal gets its name when the first trials are in it."""
    import optuna

    beside = folder / f".{JOURNAL}"
    beside.unlink(missing_ok=True)
    study = optuna.create_study(
        storage=journal_storage(beside), study_name=NAME, direction="maximize", pruner=_pruner(settings)
    )
    for values in first:
        study.enqueue_trial(dict(values))
    beside.rename(folder / JOURNAL)
    return _loaded(folder, settings)


def _loaded(folder: Path, settings: StudySettings) -> optuna.Study:
    import optuna

    try:
        storage = journal_storage(folder / JOURNAL)
        return optuna.load_study(study_name=NAME, storage=storage, pruner=_pruner(settings))
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # a line of the journal that is none
        place, remedy = str(folder / JOURNAL), "restore the file, or choose another --study"
        raise EnvironmentFault("the journal of the study is damaged", place, error, remedy) from error


def require_optuna() -> None:
    """Check that Optuna is there, and silence what it says by itself.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        remedy = "install it: pip install 'accel-yolo[tune]' (or pip install optuna)"
        raise ConfigError("the search of hyper-parameters needs Optuna", remedy=remedy) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="optuna")
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
