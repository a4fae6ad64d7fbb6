"""What a sweep's trials are: the words and the name of each, and the check of every value before the first starts."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from gesture.config.compose import parse, settings_of
from gesture.config.refusals import ConfigError
from gesture.config.schema import TrainConfig
from gesture.config.words import key_of, of_runs

LONGEST_NAME = 80
UNSAFE = re.compile(r"[^A-Za-z0-9.+_]+")
"""What a shell, Hydra's grammar or a file system may read otherwise than as it stands."""
HYDRAS_SUBDIR = "${hydra.job.num}"
"""What hydra.sweep.subdir is unless somebody gives another."""


@dataclass(frozen=True)
class Planned:
    """A trial before it runs."""

    number: int
    words: list[str]
    name: str
    """Its directory's, below the sweep's."""


def plan(config: DictConfig, loader: Any) -> list[Planned]:
    """The trials of every combination of the values given.

    Args:
        config: as Hydra composed it for the multirun.
        loader: Hydra's config loader.

    Raises:
        ConfigError: an interval, which has no first and next value.
    """
    words = of_runs(given_for_trials(config, config.hydra.overrides.task))
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(words)
    for override in overrides:
        if isinstance(override.value(), IntervalSweep):
            key = override.get_key_element()
            raise ConfigError(
                f"{override.input_line} is an interval, which this sweep cannot draw from: give values "
                f"({key}=1e-4,1e-3,1e-2, choice(...) or range(...)), or sweep=optuna."
            )
    swept = {override.get_key_element() for override in overrides if override.is_sweep_override()}
    [combinations] = BasicSweeper.split_arguments(overrides, None)
    own = OmegaConf.to_container(config.hydra.sweep)["subdir"]  # type: ignore[call-overload, index]
    return [
        Planned(
            number,
            words,
            trial_name(number, words, swept) if own == HYDRAS_SUBDIR else _own_name(config, loader, number, words),
        )
        for number, words in enumerate(combinations)
    ]


def given_for_trials(config: DictConfig, words: Sequence[str]) -> list[str]:
    """What a choice of `sweep` gives for trials and what is typed, which counts where both name a setting."""
    given = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    return list({key_of(word): word for word in (*given, *words)}.values())


def _own_name(config: DictConfig, loader: Any, number: int, words: list[str]) -> str:
    """What a person's own hydra.sweep.subdir names a trial."""
    composed = loader.load_sweep_config(config, words)
    with open_dict(composed.hydra.job):
        composed.hydra.job.num, composed.hydra.job.id = number, str(number)
    return str(composed.hydra.sweep.subdir)


def trial_name(number: int, words: Sequence[str], swept: set[str]) -> str:
    """A folder's name that says which trial this is and needs no quoting anywhere: `0-lr-0.001`."""
    parts = [str(number)]
    for word in words:
        key, _, value = word.partition("=")
        if key in swept:
            parts += [key.rpartition(".")[2], value]
    safe = [UNSAFE.sub("-", part).strip("-.") for part in parts]
    return "-".join(part for part in safe if part)[:LONGEST_NAME].rstrip("-.")


def check_trials(hydra: Any, name: str, words: Sequence[str], schema: type) -> None:
    """Check every value of a sweep before its first trial starts, each beside the first value of the others.

    Composing takes a tenth of a second, so a setting's further values are put into what its first one composed.

    Raises:
        ConfigError: a value that no trial can run with.
    """
    parser = OverridesParser.create(config_loader=hydra.config_loader)
    overrides = parser.parse_overrides(list(words))
    choices = [values_of(override) for override in overrides]
    first = [values[0] for values in choices]

    beside = check_words(hydra, name, first, schema)
    for place, (override, values) in enumerate(zip(overrides, choices, strict=True)):
        others = values[1:]
        if hydra.config_loader.repository.group_exists(override.key_or_group):
            for value in others:
                check_words(hydra, name, [*first[:place], value, *first[place + 1 :]], schema)
        elif others:
            for one in parser.parse_overrides([*others, values[0]]):  # the first one again, to leave it as it was
                with open_dict(beside):
                    OmegaConf.update(beside, one.key_or_group, one.value(), merge=False)
                _check(beside, schema)


def check_words(hydra: Any, name: str, words: Sequence[str], schema: type) -> DictConfig:
    """What one trial's words compose.

    Raises:
        ConfigError: it cannot run with them.
    """
    composed = settings_of(hydra.compose_config(name, list(words), RunMode.RUN, with_log_configuration=False))
    _check(composed, schema)
    return composed


def values_of(override: Override) -> list[str]:
    """A swept setting's words, one for each value; of an interval, which searches draw from, its two ends."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    key, value = override.get_key_element(), override.value()
    if isinstance(value, IntervalSweep):
        return [f"{key}={value.start}", f"{key}={value.end}"]
    return [f"{key}={one}" for one in override.sweep_string_iterator()]


def _check(composed: DictConfig, schema: type) -> None:
    config: Any = parse(composed, schema)
    if isinstance(config, TrainConfig) and config.resume is not None:
        raise ConfigError("resume= goes on with one run; a sweep goes on with sweep.resume=<its directory>.")
    if isinstance(config, TrainConfig) and config.trainer.devices != "1" and "LOCAL_RANK" not in os.environ:
        # Lightning would start its other processes with this command line, and each would sweep by itself.
        raise ConfigError("a sweep over several devices must be started by torchrun, or give trainer.devices=1.")
