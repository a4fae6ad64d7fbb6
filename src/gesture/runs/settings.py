"""What runs were asked for, as flat settings, and in which of these they differ."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from gesture.config.refusals import ConfigError
from gesture.runs.collection import Trial
from gesture.runs.directory import RunDirectory

Settings = dict[str, Any]

OF_A_FOLD = ("seed", "split.fold", "split.seed", "split.val_subjects", "split.test_subjects")
"""What may differ between runs of one setting: who tests, and what is drawn."""
SAYS_NOTHING = ("name", "resume", "sweep", "launcher", "logger", "data.root", "data.cache_dir", "data.cache_gb")
WATCHES = ("data.resident", "data.download", "trainer.log_every_n_steps", "trainer.profiler", "checkpoint.every")
"""Beginnings of settings by which no answer changes: where things lie, and who is told."""


def of_trial(trial: Trial) -> Settings:
    """A run's settings by their dotted names, a group's choice as `<group>`; of one never begun, what was typed."""
    try:
        plain = dataclasses.asdict(RunDirectory(trial.path).read_config())
    except ConfigError:
        typed = dict(word.partition("=")[::2] for word in trial.overrides)
        return {key.lstrip("+"): _read(value) for key, value in typed.items() if _tells(key.lstrip("+"))}
    return {key.removesuffix(".name"): value for key, value in _flat(plain, "") if _tells(key)}


def differing(runs: Sequence[Settings], aside: Sequence[str] = ()) -> list[str]:
    """The settings that have several values among the runs that have them, but for those set aside."""
    values: dict[str, set[str]] = {}
    for settings in runs:
        for key, value in settings.items():
            values.setdefault(key, set()).add(repr(value))
    return [key for key, found in values.items() if len(found) > 1 and key not in aside]


def words(settings: Mapping[str, Any]) -> str:
    """Settings in a line, each by the last part of its name: `augment=light, lr=0.001`."""
    return ", ".join(f"{key.rpartition('.')[2]}={shown(value)}" for key, value in settings.items())


def shown(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, list):
        return f"[{','.join(shown(one) for one in value)}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _flat(plain: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in plain.items():
        inner = isinstance(value, dict)
        found += _flat(value, f"{prefix}{name}.") if inner else [(f"{prefix}{name}", value)]
    return found


def _tells(key: str) -> bool:
    group = key.partition(".")[0]
    return key not in SAYS_NOTHING and group not in SAYS_NOTHING and not key.startswith(WATCHES)


def _read(value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value
