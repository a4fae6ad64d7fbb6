"""A multirun: its trials checked and named before the first starts, said and recorded each, summed up at the end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from gesture import console
from gesture.cli.job import Job
from gesture.cli.launchers import check_slurm, waiting_for_all
from gesture.cli.launching import Launching, TrialJob
from gesture.cli.multirun import RECORD, Multirun
from gesture.cli.stopping import marker, stopped_in_good_order, wait_until
from gesture.cli.summary import as_csv, exit_code, summary
from gesture.cli.trials import Planned, check_trials, plan
from gesture.config.refusals import ConfigError
from gesture.config.schema import Search
from gesture.data.files import counted
from gesture.data.locks import alone
from gesture.process import Interrupted, is_first_process
from gesture.runs.collection import collect, training_in, trial_of
from gesture.runs.files import write_atomically

BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def run(hydra: Any, name: str, words: list[str], job: Job) -> int:
    """Check a sweep, run those of its trials that are not done and sum them up; the exit code.

    Raises:
        ConfigError: no trial could run with a value that was given, or the directory holds another sweep.
    """
    multirun = Multirun.read(hydra, name, words)
    if isinstance(multirun.sweep, Search):
        if find_spec("optuna") is None:
            raise ConfigError("sweep=optuna needs Optuna, which is not installed: pip install 'gesture[sweep]'.")
        from gesture.cli import search

        return search.run(multirun, job)
    check_slurm(multirun.config)
    check_trials(hydra, name, multirun.trial_words, job.schema)
    is_ours = multirun.config.hydra.sweeper._target_ == BASIC
    trials = plan(multirun.config, hydra.config_loader) if is_ours else []
    sweep_dir = multirun.directory(lambda folder: not _waiting(folder, trials))
    config = multirun.composed_in(sweep_dir)
    with _alone_in(sweep_dir):
        OmegaConf.save(config, sweep_dir / RECORD)
        with _summed_up(sweep_dir, len(trials)), stopped_in_good_order(sweep_dir):
            context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config))
            context.callbacks.on_multirun_start(config=config, config_name=name)
            task = TrialJob(job.main, job.schema, marker(sweep_dir).absolute())
            if is_ours:
                _issue(config, context, task, trials, multirun.kept_in(sweep_dir))
            else:
                sweeper: Any = Plugins.instance().instantiate_sweeper(
                    config=config, hydra_context=context, task_function=task
                )
                sweeper.launcher = waiting_for_all(sweeper.launcher)
                sweeper.sweep(arguments=list(config.hydra.overrides.task))
            context.callbacks.on_multirun_end(config=config, config_name=name)
    return exit_code(collect(sweep_dir), len(trials) if is_first_process() else 0)


@contextmanager
def _alone_in(sweep_dir: Path) -> Iterator[None]:
    """Keep others from the sweep, but those that torchrun started beside this process."""
    with alone(sweep_dir / ".lock") as is_alone:
        if not is_alone and is_first_process():
            raise ConfigError(f"'{sweep_dir}' is being worked on by another process: wait for it, or stop it.")
        yield


def _issue(
    config: DictConfig, context: HydraContext, task: TrialJob, trials: Sequence[Planned], sweep_dir: Path
) -> None:
    """Run the trials that are not done, a batch after the other if hydra.sweeper.max_batch_size says so."""
    left = _others_work_on(sweep_dir) if is_first_process() else set()
    undone = _waiting(sweep_dir, trials)
    if len(undone) < len(trials):
        console.say(
            f"going on with '{sweep_dir}': {len(trials) - len(undone)} of {counted(len(trials), 'trial')} done."
        )
    waiting = [trial for trial in undone if trial.name not in left]
    if not waiting:
        return
    at_a_time = config.hydra.sweeper.max_batch_size or len(waiting)
    launching = Launching(config, context, task, min(at_a_time, len(waiting)))
    for start in range(0, len(waiting), at_a_time):
        launching.issue(waiting[start : start + at_a_time])


def _others_work_on(sweep_dir: Path) -> set[str]:
    """The trials that other hosts train, after waiting for those that other processes of this one do.

    The processes of a sweep that was killed go on for a moment, and anybody may go on with a trial by `resume`.
    """
    if training := training_in(sweep_dir):
        names = ", ".join(f"{folder.relative_to(sweep_dir)} (process {pid})" for folder, pid in training.items())
        console.say(f"waiting for what is being trained already: {names}.")
        wait_until(lambda: not training_in(sweep_dir))
    elsewhere = [trial for trial in collect(sweep_dir) if trial.status == "running"]
    for trial in elsewhere:
        console.say(
            f"{trial.name} is left to process {trial.process.get('pid')} of {trial.process.get('host')}; if that host "
            "has gone, write interrupted for running into its result.json."
        )
    return {trial.name for trial in elsewhere}


def _waiting(sweep_dir: Path, trials: Sequence[Planned]) -> list[Planned]:
    """The trials that are not done; last those that were killed, since they may end a process that all share again."""
    found = {trial.name: trial_of(sweep_dir / trial.name, sweep_dir) for trial in trials}
    status = {name: None if trial is None else trial.status for name, trial in found.items()}
    waiting = [trial for trial in trials if status[trial.name] != "done"]
    return sorted(waiting, key=lambda trial: status[trial.name] == "died")


@contextmanager
def _summed_up(sweep_dir: Path, planned: int) -> Iterator[None]:
    """Whatever ends the sweep, its trials are shown and kept in sweep.csv."""
    stopped = False
    try:
        yield
    except Interrupted:
        stopped = True
        raise
    finally:
        trials = collect(sweep_dir) if is_first_process() else []
        if trials:
            write_atomically(sweep_dir / "sweep.csv", as_csv(trials))
            console.say(summary(trials, sweep_dir))
            if stopped and planned > len(trials):
                console.say(f"{counted(planned - len(trials), 'trial')} did not start.")
