"""How trials are handed to a launcher, and what becomes of those that it loses."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, read_write

from gesture.cli.job import Job
from gesture.cli.launchers import waiting_for_all
from gesture.cli.stopping import begin_no_more, wait_until
from gesture.cli.trials import Planned
from gesture.config.refusals import ConfigError
from gesture.config.schema import TrainConfig
from gesture.config.words import as_hydra_reads
from gesture.data.files import counted
from gesture.process import ended_with_parent, is_first_process, leave_signals_to_parent
from gesture.runs.collection import Trial, training_in, trial_of
from gesture.runs.directory import RunDirectory, job_overrides
from gesture.workers import cores

log = logging.getLogger(__name__)

KILLED = "its process was killed, for want of memory most likely"


@dataclass(frozen=True)
class TrialJob(Job):
    """A job of a sweep: whatever becomes of it is said and recorded at its place, and the others go on."""

    marker: Path
    """Is there when the sweep stops."""
    sweep_pid: int = field(default_factory=os.getpid)

    def __call__(self, composed: DictConfig) -> Any:
        if os.getpid() == self.sweep_pid:
            return self._run(composed)
        leave_signals_to_parent()
        with ended_with_parent():
            return self._run(composed)

    def _run(self, composed: DictConfig) -> Any:
        begin_no_more(self.marker)
        try:
            return super().__call__(composed)
        except ConfigError as error:
            log.error("refused: %s", error)
            if is_first_process():
                RunDirectory.of_hydra().note_refusal(str(error), job_overrides())
            raise


class Launching:
    """Hands trials to the chosen launcher until each has ended; one that is killed does not end the others."""

    def __init__(self, config: DictConfig, context: HydraContext, job: TrialJob, trials: int) -> None:
        _start_no_idle_processes(config, trials)
        self.sweep_dir = Path(config.hydra.sweep.dir)
        self.launcher = waiting_for_all(
            Plugins.instance().instantiate_launcher(config=config, hydra_context=context, task_function=job)
        )

    def issue(self, trials: Sequence[Planned]) -> None:
        """Run trials side by side, as many as the launcher takes; where it gives up, issue again what it lost.

        Those that were killed run again, each by itself, from their last checkpoints: a launcher that loses one may
        kill the others with it. One that is killed by itself too has failed.
        """
        if is_first_process():
            self._clear(trials)
        error = self._launch(trials)
        if not is_first_process():  # which keeps no record, and whose trials are not a launcher's
            return
        lost = [trial for trial in trials if self._is_lost(trial)]
        for trial in lost:
            log.warning("%s: %s; it runs again by itself", trial.name, KILLED)
            self._note(trial, "interrupted")
            self._launch([trial])
            if self._is_lost(trial):
                self._note(trial, "failed")
        waiting = [trial for trial in trials if self._of(trial) is None]
        if len(waiting) == len(trials):
            raise error or RuntimeError("the launcher started none of its trials")
        if waiting:
            log.warning("the launcher gave up before %s; going on with them", counted(len(waiting), "trial"))
            self.issue(waiting)

    def _clear(self, trials: Sequence[Planned]) -> None:
        """Remove what trials left that begin anew: they never trained, or several processes are to train them."""
        for trial in trials:
            run, begun = RunDirectory(self.sweep_dir / trial.name), self._of(trial)
            if begun and (begun.status == "refused" or not run.config.is_file() or "LOCAL_RANK" in os.environ):
                run.release()

    def _launch(self, trials: Sequence[Planned]) -> Exception | None:
        """Run trials; the launcher's own error, where it has one, once none of its trials runs any more."""
        words = [[*trial.words, *_subdir(trial)] for trial in trials]
        try:
            self.launcher.launch(words, initial_job_idx=trials[0].number)
        except ConfigError:
            raise
        except Exception as error:  # what a launcher raises that lost a process, each its own
            log.debug("the launcher gave up", exc_info=error)
            wait_until(lambda: not training_in(self.sweep_dir))
            return error
        return None

    def _of(self, trial: Planned) -> Trial | None:
        """The trial as its directory tells; None where it never began."""
        return trial_of(self.sweep_dir / trial.name, self.sweep_dir)

    def _is_lost(self, trial: Planned) -> bool:
        """Whether the record says that it runs, though its launcher has come back and nobody here works on it."""
        found = self._of(trial)
        says_running = found is not None and found.status in ("died", "running")
        return says_running and self.sweep_dir / trial.name not in training_in(self.sweep_dir)

    def _note(self, trial: Planned, status: str) -> None:
        RunDirectory(self.sweep_dir / trial.name).note_end(status, KILLED)


def _subdir(trial: Planned) -> list[str]:
    return as_hydra_reads([f"hydra.sweep.subdir={trial.name}"], TrainConfig)


def _start_no_idle_processes(config: DictConfig, trials: int) -> None:
    """Joblib starts all its processes, and kills those that train when a terminal's Ctrl-C ends an idle one."""
    jobs = config.hydra.launcher.get("n_jobs")
    if isinstance(jobs, int):
        with read_write(config.hydra.launcher):
            config.hydra.launcher.n_jobs = min(jobs if jobs > 0 else max(cores() + 1 + jobs, 1), trials)
