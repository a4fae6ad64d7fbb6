"""resume=: which run goes on instead of a new one."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

from gesture.config.compose import parse, read_words, settings_of
from gesture.config.refusals import ConfigError
from gesture.config.schema import TrainConfig
from gesture.process import is_first_process, slurm_tasks
from gesture.runs.cluster import began_again_since
from gesture.runs.collection import collect
from gesture.runs.directory import RunDirectory

AUTO = "auto"
CAN_GO_ON = ("interrupted", "died", "failed")


def words_of_run(hydra: Any, words: Sequence[str]) -> list[str]:
    """The words that run a training: those given, or those that go on with the run that `resume` asks for.

    Raises:
        ConfigError: there is no such run, or settings are given beside it.
    """
    wanted = _wanted(words)
    if wanted is None:
        return list(words)
    if wanted == AUTO:
        run = _newest_unfinished(hydra, words)
        return list(words) if run is None else _going_on(run)
    others = [word for word in words if word.partition("=")[0] != "resume"]
    if not is_first_process():  # whose words end with those that keep its record elsewhere
        return [*_going_on(Path(wanted).expanduser())[:1], *others]
    if others:
        raise ConfigError(f"resume= goes on with the settings its run had: leave out {', '.join(others)}.")
    return _going_on(Path(wanted).expanduser())


def _going_on(run: Path) -> list[str]:
    directory = RunDirectory(run)
    if not directory.result.is_file():
        raise ConfigError(f"resume='{run}' is no run directory: give logs/<name>/<run>, or auto.")
    if not directory.config.is_file():
        raise ConfigError(
            f"resume='{run}' has no config.yaml, so its settings are not known: give them again, with another "
            "hydra.run.dir."
        )
    return read_words([f"resume={run}", f"hydra.run.dir={run}"], TrainConfig)


def _newest_unfinished(hydra: Any, words: Sequence[str]) -> Path | None:
    """The newest run beside where this one would be that was asked for the same and did not end.

    In a job that its cluster began again, which may be with other settings where places have moved, it is the job's.
    """
    composed = hydra.compose_config("train", list(words), run_mode=RunMode.RUN, with_log_configuration=True)
    config = parse(settings_of(composed), TrainConfig)
    if config.trainer.devices != "1" or "LOCAL_RANK" in os.environ or slurm_tasks() > 1:
        raise ConfigError("resume=auto is for one process: give resume=<run directory>.")
    trials = sorted(collect(Path(composed.hydra.run.dir).parent), key=lambda trial: trial.path.name, reverse=True)
    unfinished = [trial for trial in trials if trial.status in CAN_GO_ON]
    for trial in unfinished:
        if RunDirectory(trial.path).was_asked_for(config):
            return trial.path
    own = [trial for trial in trials if began_again_since(trial.process)]
    if any(RunDirectory(trial.path).was_asked_for(config) for trial in own):
        return None  # which is done; what else the job left was another command's
    return next((trial.path for trial in own if trial in unfinished), None)


def _wanted(words: Sequence[str]) -> Any:
    """The value of `resume`; None where it is not given."""
    given = [word for word in words if word.partition("=")[0] == "resume"]
    return OverridesParser.create().parse_overrides(given)[0].value() if given else None
