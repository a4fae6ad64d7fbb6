"""A multirun that learns from its trials what to try next: Optuna proposes settings, trainings judge them.

Several workers are the same command started several times; each proposes, trains and tells by itself, and nobody waits
for a batch.
"""

import math
import os
from functools import partial
from pathlib import Path

import optuna
from hydra._internal.callbacks import Callbacks
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from gesture import console
from gesture.cli.found import sum_up
from gesture.cli.job import DONE, FAILED, REFUSED, Job
from gesture.cli.launching import Launching, TrialJob
from gesture.cli.multirun import RECORD, Multirun
from gesture.cli.space import Space
from gesture.cli.stopping import marker
from gesture.cli.study import NAME, POSITION, WORDS, Study
from gesture.cli.trials import Planned, check_words
from gesture.config.names import FALLING_MONITORS
from gesture.config.refusals import ConfigError
from gesture.config.schema import Search
from gesture.config.words import key_of
from gesture.data.files import counted
from gesture.runs.collection import Trial, collect, trial_of
from gesture.runs.directory import RunDirectory

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def run(multirun: Multirun, job: Job) -> int:
    """Search until as many settings are judged as were asked for; the exit code.

    Trials that fail are passed over; a search has failed that found nothing.

    Raises:
        ConfigError: what cannot be searched, or a directory that holds something else.
    """
    settings = multirun.sweep
    assert isinstance(settings, Search)
    _check_workers(multirun, settings)
    loader = multirun.hydra.config_loader
    space = Space.read(settings.space, multirun.trial_words, multirun.first, loader)
    hydras = [word for word in multirun.words if key_of(word).startswith("hydra")]
    for words in space.corners():
        check_words(multirun.hydra, multirun.name, [*hydras, *words, *_of_fold(settings, 0)], job.schema)
    sweep_dir = multirun.directory(lambda folder: _is_whole(folder, settings.trials))
    config = multirun.composed_in(sweep_dir)
    if not (sweep_dir / RECORD).is_file():
        OmegaConf.save(config, sweep_dir / RECORD)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    monitor = multirun.first.checkpoint.monitor
    study = Study(
        sweep_dir, settings, monitor, monitor not in FALLING_MONITORS, epochs=multirun.first.trainer.max_epochs
    )
    if begun := len(study.taken()):
        console.say(f"going on with '{sweep_dir}': {begun} of {counted(settings.trials, 'trial')} begun.")
    worker = Worker(study, space, config, HydraContext(loader, Callbacks(config)), job)
    try:
        while worker.hindrance is None and (trial := study.next(space)) is not None:
            worker.judge(trial)
        worker.settle()
    finally:
        sum_up(study, space, loader)
    if worker.hindrance:
        console.complain(f"the search stops, since other settings would not help: {worker.hindrance}")
        return FAILED if any(row.status == "done" for row in study.rows(space.given)) else REFUSED
    return _exit_code(study, space)


def _exit_code(study: Study, space: Space) -> int:
    if any(row.status not in ("failed", "refused") for row in study.rows(space.given)):
        return DONE
    return REFUSED if all(run.status == "refused" for run in collect(study.sweep_dir)) else FAILED


def _check_workers(multirun: Multirun, settings: Search) -> None:
    """See that trials run in this process and have scores, and that folds are the search's to deal.

    Raises:
        ConfigError: they do not, or are not.
    """
    if "LOCAL_RANK" in os.environ:
        raise ConfigError("a search's trials take one process each: start it without torchrun.")
    if multirun.config.hydra.launcher._target_ != BASIC_LAUNCHER:
        raise ConfigError(
            "a search takes no launcher: start the same command once for each worker, with the same hydra.sweep.dir."
        )
    if multirun.first.trainer.fast_dev_run:
        raise ConfigError("trainer.fast_dev_run=true gives no score to search by: leave it out, or sweep=grid.")
    dealt = [word for word in multirun.trial_words if key_of(word) in ("split", "split.folds", "split.fold")]
    if settings.folds is not None and dealt:
        raise ConfigError(f"sweep.folds={settings.folds} deals the people itself: leave out {', '.join(dealt)}.")


def _is_whole(sweep_dir: Path, trials: int) -> bool:
    """Whether a search has judged as many settings as are asked for, as its directories tell."""
    begun = {trial.name.split("/")[0]: trial.status for trial in collect(sweep_dir)}
    return len(begun) >= trials and not set(begun.values()) & {"interrupted", "died", "running"}


def _of_fold(settings: Search, fold: int) -> list[str]:
    return [] if settings.folds is None else ["split=fold", f"split.folds={settings.folds}", f"split.fold={fold}"]


class Worker:
    """Judges settings by training with them, in this process."""

    def __init__(self, study: Study, space: Space, config: DictConfig, context: HydraContext, job: Job) -> None:
        self.study = study
        self.space = space
        self.settings = study.settings
        self.trial: optuna.Trial | None = None
        """The one that is judged now."""
        self.refused: tuple[optuna.Trial, Trial] | None = None
        """The one before it, if it was refused: perhaps for its settings."""
        self.hindrance: str | None = None
        """Why trials cannot run whatever their settings are; a search that is begun again tries them again."""
        task = TrialJob(partial(job.main, judge=self._is_beaten), job.schema, marker(study.sweep_dir).absolute())
        self.launching = Launching(config, context, task, trials=1)

    def judge(self, trial: optuna.Trial) -> None:
        """Train with what a trial proposes, on each fold if there are several, and tell the study what came of it."""
        self.trial = trial
        scores: list[float] = []
        folds = self.settings.folds or 1
        for fold in range(folds):
            run = self._train(trial, fold)
            if run.lacked_room:
                self._is_hindered(run)
                return
            if run.status == "refused":
                self._put_off(trial, run)
                return
            if run.status != "done" or run.score is None or not math.isfinite(run.score):
                self.study.fail(trial, run.error or "it has no score")
                return
            scores.append(run.score)
            if folds > 1 and self.study.loses(trial, fold, run.score, is_last=fold + 1 == folds):
                break
        self.study.conclude(trial, scores)
        self.settle()

    def settle(self) -> None:
        """Decide on a trial that was refused: where none could run, its settings are hardly to blame."""
        if self.refused is None or self.hindrance:
            return
        trial, run = self.refused
        if self._could_run():
            self.study.fail(trial, str(run.error))
            self.refused = None
        else:
            self._is_hindered(run)

    def _put_off(self, trial: optuna.Trial, run: Trial) -> None:
        """Wait for the next trial to tell whether this one was refused for its settings.

        One that nobody has told of is taken up when the search begins again.
        """
        before, self.refused = self.refused, (trial, run)
        if before is None:
            return
        if before[1].error == run.error and not self._could_run():
            self._is_hindered(before[1], run)
        else:
            self.study.fail(before[0], str(before[1].error))

    def _could_run(self) -> bool:
        """Whether any trial of the study could."""
        return any(row.status in ("done", "dropped") for row in self.study.rows(self.space.given))

    def _is_hindered(self, *runs: Trial) -> None:
        """Stop the search; what these runs have trained is kept."""
        self.hindrance = runs[-1].error
        for run in runs:
            if run.status == "refused":
                RunDirectory(run.path).release()
            else:
                RunDirectory(run.path).note_end("interrupted", str(run.error))

    def _train(self, trial: optuna.Trial, fold: int) -> Trial:
        """One training of a trial, unless it is done already."""
        attrs, sweep_dir = trial.user_attrs, self.study.sweep_dir
        name = attrs[NAME] if self.settings.folds is None else f"{attrs[NAME]}/fold-{fold}"
        run = trial_of(sweep_dir / name, sweep_dir)
        if run is None or run.status != "done":
            words = [*self.space.given, *attrs[WORDS], *_of_fold(self.settings, fold)]
            self.launching.issue([Planned(attrs[POSITION], words, name)])
            run = trial_of(sweep_dir / name, sweep_dir)
        assert run is not None, f"{name} left no record"
        return run

    def _is_beaten(self, epoch: int, score: float) -> bool:
        """Whether the training of now had better end, whose validation said `score` after an epoch."""
        assert self.trial is not None
        is_last = epoch + 1 == self.space.config.trainer.max_epochs
        return self.settings.folds is None and self.study.loses(self.trial, epoch, score, is_last)
