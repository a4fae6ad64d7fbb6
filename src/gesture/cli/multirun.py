"""A multirun as it is asked for: its words, its directory, and whether it is one that has begun before."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from gesture.cli.job import made
from gesture.cli.trials import given_for_trials, values_of
from gesture.config.compose import parse, settings_of
from gesture.config.refusals import ConfigError
from gesture.config.schema import GridSweep, TrainConfig
from gesture.config.words import as_hydra_reads, key_of, of_runs
from gesture.process import is_first_process
from gesture.runs.collection import collect

AUTO = "auto"
DIRECTORY = "hydra.sweep.dir"
RECORD = "multirun.yaml"
"""What was asked for, in the sweep's directory; Hydra's own sweeper calls it so."""
MAY_CHANGE = ("resume", "trials", "storage")
"""Settings of `sweep` that may differ when it goes on."""
LAUNCHERS = ("launcher", "hydra/launcher", "hydra.launcher")
MAY_BE_GIVEN = (*LAUNCHERS, "hydra.", *(f"sweep.{name}" for name in MAY_CHANGE))
"""Beside sweep.resume."""
KEPT_OF_HYDRAS = (*LAUNCHERS, "hydra.sweep.subdir")
"""Words of Hydra's that a sweep which goes on has as before, beside its trials'."""


@dataclass(frozen=True)
class Multirun:
    """What `-m` was typed with."""

    hydra: Any
    name: str
    """The command's."""
    words: list[str]
    config: DictConfig
    """As Hydra composes it for the sweep as a whole."""
    first: TrainConfig
    """The first trial's configuration."""
    named: Path
    """The sweep's directory as the first trial names it; each would resolve `${name}` to its own."""

    @classmethod
    def read(cls, hydra: Any, name: str, words: list[str]) -> "Multirun":
        """Compose what was typed.

        Raises:
            ConfigError: the first trial cannot run, or sweep.resume names no sweep.
        """
        if is_first_process() and any(word.lstrip("+").startswith("hydra.run.dir=") for word in words):
            raise ConfigError(f"hydra.run.dir is a single run's: give a sweep's directory as {DIRECTORY}.")
        words = _words_of_sweep(words)
        config = hydra.compose_config(name, words, run_mode=RunMode.MULTIRUN, with_log_configuration=True)
        parser = OverridesParser.create(config_loader=hydra.config_loader)
        given = parser.parse_overrides(given_for_trials(config, words))
        first = [values_of(override)[0] for override in given]
        composed = hydra.compose_config(name, first, RunMode.RUN, with_log_configuration=False)
        named = str(composed.hydra.sweep.dir)
        if not named:
            raise ConfigError(f"{DIRECTORY} is empty: leave it out or give a folder.")
        return cls(hydra, name, words, config, parse(settings_of(composed), TrainConfig), Path(named).expanduser())

    @property
    def sweep(self) -> GridSweep:
        assert self.first.sweep is not None
        return self.first.sweep

    @property
    def trial_words(self) -> list[str]:
        """What is given for its trials."""
        return of_runs(given_for_trials(self.config, self.words))

    def composed_in(self, directory: Path) -> DictConfig:
        """The same in a directory of its own, which is made."""
        made(str(directory), DIRECTORY)
        words = [*self.words, *as_hydra_reads([f"{DIRECTORY}={directory}"], TrainConfig)]
        config: DictConfig = self.hydra.compose_config(
            self.name, words, run_mode=RunMode.MULTIRUN, with_log_configuration=True
        )
        return config

    def directory(self, is_whole: Callable[[Path], bool]) -> Path:
        """Where the sweep is: as typed, or the newest that was asked for the same and is not whole, or a new one.

        Raises:
            ConfigError: there is another sweep, or this one has begun and is not to go on.
        """
        is_named = any(word.lstrip("+").startswith(f"{DIRECTORY}=") for word in self.words)
        if not is_named and self.sweep.resume == AUTO and "LOCAL_RANK" not in os.environ:
            newest_first = sorted((path.parent for path in self.named.parent.glob(f"*/{RECORD}")), reverse=True)
            unfinished = (folder for folder in newest_first if self._began(folder) and not is_whole(folder))
            return next(unfinished, self.named)
        if is_first_process() and collect(self.named):
            if not self._began(self.named):
                raise ConfigError(f"'{self.named}' holds another sweep: give another {DIRECTORY}, or remove it.")
            if self.sweep.resume is None:
                raise ConfigError(
                    f"'{self.named}' holds this sweep already: leave out sweep.resume=null to go on with it, or give "
                    f"another {DIRECTORY}."
                )
        return self.named

    def kept_in(self, directory: Path) -> Path:
        """The directory of the sweep's record, which only the first process of a distributed sweep has as its own."""
        if is_first_process():
            return directory
        typed = next(word for word in self.words if key_of(word) == DIRECTORY)  # before where its own logs go
        return Path(str(OverridesParser.create().parse_overrides([typed])[0].value())).expanduser()

    def _began(self, directory: Path) -> bool:
        """Whether a directory holds a sweep that was asked for the same."""
        record = directory / RECORD
        try:
            before = _identity(_read(record)) if record.is_file() else None
        except ConfigError:  # a damaged record is nobody's
            return False
        return before is not None and before == _identity(OmegaConf.to_container(self.config))


def _identity(plain: Any) -> Any:
    """What makes two multiruns the same: their trials' words and names, and what proposes them."""
    try:
        sweep = {key: value for key, value in plain["sweep"].items() if key not in MAY_CHANGE}
        hydra = plain["hydra"]
        return of_runs(hydra["overrides"]["task"]), hydra["sweeper"]["params"], hydra["sweep"]["subdir"], sweep
    except (KeyError, TypeError, AttributeError):  # damaged, or of an earlier version
        return None


def _read(record: Path) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.load(record))  # plain data: nothing is resolved or executed
    except Exception as error:  # each parser's own
        raise ConfigError(f"'{record}' is damaged: give another {DIRECTORY}, or remove it.") from error


def _words_of_sweep(words: list[str]) -> list[str]:
    """The words given, or those of the sweep that `sweep.resume` names.

    Raises:
        ConfigError: there is no such sweep, or settings of its trials are given beside it.
    """
    given = [word for word in words if word.partition("=")[0] == "sweep.resume"]
    value = OverridesParser.create().parse_overrides(given)[0].value() if given else AUTO
    if value in (AUTO, None):
        return words
    directory = Path(str(value)).expanduser()
    if not (directory / RECORD).is_file():
        raise ConfigError(f"sweep.resume='{value}' is no sweep's directory: give logs/<name>/<sweep>, auto or null.")
    others = [word for word in words if word not in given]
    foreign = [word for word in others if key_of(word) == DIRECTORY or not key_of(word).startswith(MAY_BE_GIVEN)]
    if foreign and is_first_process():
        raise ConfigError(f"sweep.resume= goes on with the words its sweep had: leave out {', '.join(foreign)}.")
    try:
        overrides = _read(directory / RECORD)["hydra"]["overrides"]
        before = [*overrides["task"], *(word for word in overrides["hydra"] if key_of(word).startswith(KEPT_OF_HYDRAS))]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"'{directory / RECORD}' is damaged: type the sweep's words again.") from error
    typed = {key_of(word) for word in others} | {"sweep.resume", DIRECTORY}
    has_launcher = any(key_of(word).startswith(LAUNCHERS) for word in others)
    kept = [
        word
        for word in before
        if key_of(word) not in typed
        and "_target_" not in word
        and not (has_launcher and key_of(word).startswith(LAUNCHERS))
    ]
    return [*kept, *as_hydra_reads([f"{DIRECTORY}={directory}"], TrainConfig), *others]
