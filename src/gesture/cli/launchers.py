"""Submitit's launchers, made to wait for every trial: theirs raise when the first is lost, while others still run."""

import logging
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from gesture.cli.requeue import queue
from gesture.config.refusals import ConfigError
from gesture.data.files import counted

log = logging.getLogger(__name__)

POLL_S = {"local": 1.0, "slurm": 5.0}
LONGEST_END_S = 60.0
"""For jobs that Slurm was told to end."""


def waiting_for_all(launcher: Any) -> Any:
    """A launcher that loses no trial with another: submitit's wrapped, any other as it is."""
    cluster = getattr(launcher, "_EXECUTOR", None)
    return PatientLauncher(launcher, cluster) if cluster in POLL_S else launcher


def check_slurm(config: DictConfig) -> None:
    """Raises ConfigError where a sweep's launcher wants Slurm, which is not here."""
    if config.hydra.launcher._target_.endswith(".SlurmLauncher") and shutil.which("sbatch") is None:
        raise ConfigError("launcher=slurm needs sbatch, which is not on this host: start it on a login node.")


class PatientLauncher(Launcher):
    """Submits trials as submitit's launcher would, waits until all have ended, and returns what became of each."""

    def __init__(self, launcher: Any, cluster: str) -> None:
        self.launcher = launcher
        self.cluster = cluster

    def setup(self, **parts: Any) -> None:
        self.launcher.setup(**parts)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        jobs = self._submitted(job_overrides, initial_job_idx)
        try:
            self._wait(jobs)
        except BaseException:  # a request to stop
            self._cancel(jobs)
            raise
        return [_outcome(job) for job in jobs]

    def _submitted(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[Any]:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        state = Singleton.get_state()
        trials = [
            (list(words), "hydra.sweep.dir", number, f"job_id_for_{number}", state)
            for number, words in enumerate(job_overrides, first)
        ]
        executor = self._executor()
        try:
            jobs: list[Any] = executor.map_array(self.launcher, *zip(*trials, strict=True))
        except (FailedJobError, FailedSubmissionError) as error:
            said = str(error).strip().splitlines()[0].removeprefix("sbatch: ")
            raise ConfigError(f"Slurm takes no such jobs ({said}): change launcher.* or hydra.launcher.*.") from error
        numbers = "" if self.cluster == "local" else f" as Slurm's {jobs[0].job_id.partition('_')[0]}"
        log.info("%s submitted%s, what they say is in %s", counted(len(jobs), "trial"), numbers, self._folder.parent)
        return jobs

    @property
    def _folder(self) -> Path:
        """Where submitit keeps a job's files; `%j` stands for the job."""
        return Path(self.launcher.params["submitit_folder"])

    def _executor(self) -> Any:
        """Submitit's, with the launcher's settings; those that others have not carry its name there."""
        import submitit
        from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

        common = {field.name for field in fields(BaseQueueConf)}
        settings = {
            name if name in common else f"{self.cluster}_{name}": value
            for name, value in self.launcher.params.items()
            if name != "submitit_folder"
        }
        timeouts = f"{self.cluster}_max_num_timeout"
        made_with = {timeouts: settings.pop(timeouts)} if timeouts in settings else {}
        executor = submitit.AutoExecutor(self._folder, cluster=self.cluster, **made_with)
        executor.update_parameters(**settings)
        return executor

    def _wait(self, jobs: Sequence[Any]) -> None:
        while self._unfinished(jobs):
            time.sleep(POLL_S[self.cluster])

    def _unfinished(self, jobs: Sequence[Any]) -> list[Any]:
        """The jobs that run or wait; of Slurm its queue tells, also where it keeps no accounts."""
        if self.cluster != "slurm":
            return [job for job in jobs if not job.done()]
        queued = queue("--me", "--array", "--format=%i")
        return list(jobs) if queued is None else [job for job in jobs if job.job_id in queued]

    def _cancel(self, jobs: Sequence[Any]) -> None:
        """End the jobs of a sweep that stops; those of this host have been told by it already."""
        if self.cluster == "slurm" and (running := self._unfinished(jobs)):
            subprocess.run(["scancel", *(job.job_id for job in running)], capture_output=True)
            deadline = time.monotonic() + LONGEST_END_S
            while self._unfinished(jobs) and time.monotonic() < deadline:
                time.sleep(1)


def _outcome(job: Any) -> JobReturn:
    """What a job returned, or that it is lost."""
    from submitit.core.utils import UncompletedJobError

    try:
        if not job.paths.result_pickle.exists():  # submitit would wait for it
            raise UncompletedJobError(f"job {job.job_id} was lost: {job.paths.stderr} may say why.")
        outcome: JobReturn = job.results()[0]
    except UncompletedJobError as error:
        log.error("%s", str(error).splitlines()[0])
        return JobReturn(status=JobStatus.FAILED, _return_value=error)
    return outcome
