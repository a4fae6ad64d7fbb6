"""The study of a search: which settings were proposed, who judges them, and what came of it.

Any number of processes work on one study. Each trial remembers its process, so that a worker finds those whose process
has ended and goes on with them.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from gesture.cli.space import Space
from gesture.cli.trials import trial_name
from gesture.config.refusals import ConfigError
from gesture.config.schema import Search
from gesture.data.locks import exclusive
from gesture.runs.collection import Trial, runs_in
from gesture.runs.result import status_of, this_process

WORDS, NAME, POSITION, PROCESS, KILLS, LOST, ERROR = "words", "name", "position", "process", "kills", "lost", "error"
"""What is kept of a trial beside Optuna's own."""
MOST_KILLS = 2
"""A trial whose process was killed so often has failed."""
STATUSES = {TrialState.COMPLETE: "done", TrialState.PRUNED: "dropped", TrialState.FAIL: "failed"}
SHARED_DISKS = ("nfs", "nfs4", "cifs", "smb3", "lustre", "beegfs", "gpfs", "ceph", "fuse.sshfs", "9p", "afs")
"""File systems of several hosts, where SQLite's locks do not hold."""
LONGEST_WAIT_S = 60
"""For another worker that writes into the study."""


class Study:
    """Optuna's study in a sweep's directory."""

    def __init__(self, sweep_dir: Path, settings: Search, monitor: str, rising: bool, epochs: int) -> None:
        self.sweep_dir = sweep_dir
        self.settings = settings
        self.monitor = monitor
        self.rising = rising
        """Whether more of the score is better."""
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # Wilcoxon's, journals
        pruner: optuna.pruners.BasePruner = optuna.pruners.WilcoxonPruner(p_threshold=settings.p_threshold)
        if settings.folds is None:
            pruner = optuna.pruners.MedianPruner(settings.random_trials, n_warmup_steps=max(1, epochs // 4))
        with self._alone("opening the study"):
            storage, self.url = _storage(sweep_dir, settings.storage)  # two that make its tables at once fail
            self.optuna = optuna.create_study(
                storage=storage,
                study_name="gesture",
                load_if_exists=True,
                direction="maximize" if rising else "minimize",
                pruner=pruner,
            )

    def next(self, space: Space) -> optuna.Trial | None:
        """A trial whose process ended before it, or a new one; None where all have been taken."""
        with self._alone("proposing a setting"):
            for frozen in self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if _is_orphaned(frozen) and (trial := self._taken_up(frozen)):
                    return trial
            position = len(self.taken())
            return self._proposed(space, position) if position < self.settings.trials else None

    def taken(self) -> list[FrozenTrial]:
        """The trials that were proposed, in the order of their positions."""
        trials = [trial for trial in self.optuna.get_trials(deepcopy=False) if WORDS in trial.user_attrs]
        return sorted(trials, key=lambda trial: int(trial.user_attrs[POSITION]))

    def loses(self, trial: optuna.Trial, step: int, score: float, is_last: bool) -> bool:
        """Whether a trial had better end, which has this score after an epoch or on a fold."""
        if step not in self.optuna.get_trials(deepcopy=False)[trial.number].intermediate_values:
            trial.report(score, step)
        if is_last or not trial.should_prune():
            return False
        trial.set_user_attr(LOST, step)
        return True

    def conclude(self, trial: optuna.Trial, scores: list[float]) -> None:
        """A trial is judged, unless it lost before its end."""
        if LOST in trial.user_attrs:
            self.optuna.tell(trial, state=TrialState.PRUNED)
        else:
            self.optuna.tell(trial, float(np.mean(scores)))

    def fail(self, trial: optuna.Trial, sentence: str) -> None:
        """A trial has no score; the search passes it over."""
        trial.set_user_attr(ERROR, sentence)
        self.optuna.tell(trial, state=TrialState.FAIL)

    def rows(self, given: list[str]) -> list[Trial]:
        """The settings that were tried, each as one trial of a sweep, with the words given for all of them."""
        return [self._row(trial, given) for trial in self.taken()]

    def _row(self, trial: FrozenTrial, given: list[str]) -> Trial:
        folder = self.sweep_dir / trial.user_attrs[NAME]
        runs = runs_in(folder)
        return Trial(
            path=folder,
            name=trial.user_attrs[NAME],
            overrides=[*given, *trial.user_attrs[WORDS]],
            status=_status(trial, runs),
            score=trial.value if trial.state == TrialState.COMPLETE else None,
            monitor=self.monitor,
            seconds=sum(run.seconds for run in runs),
            error=trial.user_attrs.get(ERROR),
            process=trial.user_attrs.get(PROCESS, {}),
        )

    def _taken_up(self, frozen: FrozenTrial) -> optuna.Trial | None:
        """A trial that goes on where its process ended; None where that was too often, or while it was proposed."""
        trial = optuna.Trial(self.optuna, frozen._trial_id)
        if WORDS not in frozen.user_attrs:  # another takes its position
            self.optuna.tell(trial, state=TrialState.FAIL)
            return None
        runs = runs_in(self.sweep_dir / frozen.user_attrs[NAME])
        kills = frozen.user_attrs.get(KILLS, 0) + any(run.status == "died" for run in runs)
        if kills >= MOST_KILLS:
            self.fail(trial, f"its process was killed {kills} times, for want of memory most likely")
            return None
        trial.set_user_attr(KILLS, kills)
        trial.set_user_attr(PROCESS, this_process())
        return trial

    def _proposed(self, space: Space, position: int) -> optuna.Trial:
        """A new trial.

        What it is depends on the seed, the position and what is known by then, never on what else was drawn: a search
        that goes on proposes what one that never stopped would have.
        """
        seed = int(np.random.SeedSequence([self.settings.seed, position]).generate_state(1)[0])
        self.optuna.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.settings.random_trials)
        trial = self.optuna.ask()
        trial.set_user_attr(PROCESS, this_process())
        words = space.propose(trial)
        short = {key: f"{value:.3g}" if isinstance(value, float) else value for key, value in trial.params.items()}
        name = trial_name(position, [f"{key}={value}" for key, value in short.items()], set(short))
        trial.set_user_attr(POSITION, position)
        trial.set_user_attr(NAME, name)
        trial.set_user_attr(WORDS, words)  # the last: with it the trial is whole
        return trial

    @contextmanager
    def _alone(self, doing: str) -> Iterator[None]:
        """Keep other workers from proposing; a study that cannot be used is said in a sentence."""
        try:
            with exclusive(self.sweep_dir / ".lock", doing):
                yield
        except optuna.exceptions.StorageInternalError as error:
            cause = str(error.__cause__ or error).splitlines()[0]
            raise ConfigError(f"the study in '{self.sweep_dir}' cannot be used: {cause}.") from error


def _status(trial: FrozenTrial, runs: list[Trial]) -> str:
    """What became of a setting; of one that failed because it cannot be trained with, that it was refused."""
    last = runs[-1].status if runs else "proposed"
    if trial.state == TrialState.FAIL and last == "refused":
        return last
    return STATUSES.get(trial.state) or last


def _is_orphaned(frozen: FrozenTrial) -> bool:
    """Whether the process that worked on a trial has ended."""
    return status_of({"status": "running", "process": frozen.user_attrs.get(PROCESS)}) == "died"


def _storage(sweep_dir: Path, kind: str) -> tuple[BaseStorage, str]:
    """Where the study is kept, and what optuna-dashboard takes to show it."""
    if kind == "auto":
        kind = "journal" if _file_system(sweep_dir) in SHARED_DISKS else "sqlite"
    if kind == "journal":
        path = sweep_dir / "study.journal"
        return JournalStorage(JournalFileBackend(str(path))), str(path)
    url = f"sqlite:///{sweep_dir / 'study.db'}"
    return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": LONGEST_WAIT_S}}), url


def _file_system(folder: Path) -> str:
    """The kind of file system that holds a folder, as Linux calls it; elsewhere nothing."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    holding = [(place, kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
    return max(holding, key=lambda mount: len(mount[0]), default=("", ""))[1]
