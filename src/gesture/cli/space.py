"""What a search may propose: each setting's range or choices, and when it counts."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from gesture.config.checks import explain_unknown, setting_names
from gesture.config.refusals import ConfigError, nearest
from gesture.config.schema import TrainConfig
from gesture.config.words import as_hydra_reads

RANGE, CHOICES, WHEN = ("low", "high", "log", "step"), "choices", "when"
KEYS = (*RANGE, CHOICES, WHEN)
LOG = "log"
"""A tag that makes an interval of the command line logarithmic: tag(log, interval(1e-5,1e-2))."""


@dataclass(frozen=True)
class Dimension:
    """One setting that is searched."""

    key: str
    distribution: BaseDistribution
    when: Mapping[str, list[str]]
    """It is proposed only where these settings have one of these values."""

    def propose(self, trial: Trial) -> str:
        """What the study proposes for it, as it is typed."""
        kind: Any = self.distribution
        if isinstance(kind, CategoricalDistribution):
            return str(trial.suggest_categorical(self.key, kind.choices))
        suggest: Any = trial.suggest_int if isinstance(kind, IntDistribution) else trial.suggest_float
        return repr(suggest(self.key, kind.low, kind.high, step=kind.step, log=kind.log))

    def can_be(self, value: str) -> bool:
        """Whether it may be proposed, as far as choices tell."""
        return not isinstance(self.distribution, CategoricalDistribution) or value in self.ends()

    def ends(self) -> list[str]:
        """The values of which every other is between, or one."""
        if isinstance(self.distribution, CategoricalDistribution):
            return [str(choice) for choice in self.distribution.choices]
        kind: Any = self.distribution
        return [repr(kind.low), repr(kind.high)]


@dataclass(frozen=True)
class Space:
    """The settings that are searched, in the order in which they are proposed, beside those that are given."""

    dimensions: list[Dimension]
    given: list[str]
    """Words of every trial."""
    config: TrainConfig
    """What the given ones compose."""

    @classmethod
    def read(cls, plain: Mapping[str, Any], words: Sequence[str], config: TrainConfig, loader: Any) -> "Space":
        """The space of a file, and of what is typed with several values or an interval; one typed value is fixed.

        Raises:
            ConfigError: a range or a condition that cannot be.
        """
        dimensions = {key: _of_file(key, value) for key, value in plain.items()}
        _check_conditions(list(dimensions.values()))
        typed, given = {}, []
        for override in OverridesParser.create(config_loader=loader).parse_overrides(list(words)):
            key = override.get_key_element().lstrip("+")
            if override.is_sweep_override():
                typed[key] = _of_word(key, override)
            else:
                dimensions.pop(key, None)
                given += [] if key.startswith("hydra") else [str(override.input_line)]
        first = {key: dimension for key, dimension in typed.items() if key not in dimensions}
        for key in typed.keys() - first.keys():
            dimensions[key] = dataclasses.replace(typed[key], when=dimensions[key].when)
        searched = [*first.values(), *dimensions.values()]  # conditions of the file may be about what is typed
        if not searched:
            raise ConfigError("nothing is searched: give sweep.space, or settings as interval(...) or choice(...).")
        return cls(searched, given, config)

    def propose(self, trial: Trial) -> list[str]:
        """The words of what a trial of the study proposes."""
        values: dict[str, str] = {}
        for dimension in self.dimensions:
            if self._counts(dimension, values):
                values[dimension.key] = dimension.propose(trial)
        return as_hydra_reads([f"{key}={value}" for key, value in values.items()], TrainConfig)

    def corners(self) -> list[list[str]]:
        """For each end of each range and each choice the words with which it is proposed, beside the others' first."""
        found = []
        by_key = {dimension.key: dimension for dimension in self.dimensions}
        for dimension in self.dimensions:
            met = [self._fixed(key) in wanted for key, wanted in dimension.when.items() if key not in by_key]
            asked = {
                key: [value for value in wanted if by_key[key].can_be(value)]
                for key, wanted in dimension.when.items()
                if key in by_key
            }
            if not all([*met, *asked.values()]):  # what is typed leaves no case in which it is proposed
                continue
            values: dict[str, str] = {}
            for other in self.dimensions:
                if other.key in asked:
                    values[other.key] = asked[other.key][0]
                elif other is dimension or self._counts(other, values):
                    values[other.key] = other.ends()[0]
            for end in dimension.ends():
                words = [f"{key}={value}" for key, value in {**values, dimension.key: end}.items()]
                found.append([*self.given, *as_hydra_reads(words, TrainConfig)])
        return found

    def _counts(self, dimension: Dimension, values: Mapping[str, str]) -> bool:
        return all(
            (values[key] if key in values else self._fixed(key)) in wanted for key, wanted in dimension.when.items()
        )

    def _fixed(self, key: str) -> str:
        """A setting that is not searched, or not this time, as the given words have it; of a group its choice."""
        value: Any = self.config
        for name in key.split("."):
            value = getattr(value, name, None)
        return _text(getattr(value, "name", value))


def _check_conditions(dimensions: Sequence[Dimension]) -> None:
    """See that conditions are about settings, and about values that those can have.

    Raises:
        ConfigError: they are not.
    """
    earlier: dict[str, Dimension] = {}
    searched = {dimension.key for dimension in dimensions}
    for dimension in dimensions:
        for key, wanted in dimension.when.items():
            where = f"sweep.space: {dimension.key} is searched when {key} is {' or '.join(wanted)}"
            if key in searched and key not in earlier:
                raise ConfigError(f"{where}, but {key} stands behind it: put {key} first.")
            if key not in setting_names(TrainConfig):
                raise ConfigError(f"{where}: {explain_unknown(key, None, TrainConfig)}")
            known = earlier.get(key)
            for value in wanted:
                if known and not known.can_be(value):
                    raise ConfigError(f"{where}, but its choices are others: {nearest(value, known.ends())}")
        earlier[dimension.key] = dimension


def _of_file(key: str, plain: Any) -> Dimension:
    """A dimension as YAML has it.

    Raises:
        ConfigError: it is no setting, or neither a range nor choices.
    """
    where = f"sweep.space.{key}"
    if key not in setting_names(TrainConfig):
        raise ConfigError(f"sweep.space: {explain_unknown(key, None, TrainConfig)}")
    if not isinstance(plain, dict):
        raise ConfigError(f"{where}={plain} must be low and high, or choices.")
    for name in plain:
        if name not in KEYS:
            raise ConfigError(f"{where}: {name} is unknown: {nearest(str(name), KEYS)}")
    conditions = plain.get(WHEN) or {}
    if not isinstance(conditions, dict):
        raise ConfigError(
            f"{where}: when={conditions} must name settings and their values, as {{backbone: [resnet50]}}."
        )
    when = {name: [_text(one) for one in _listed(wanted)] for name, wanted in conditions.items()}
    has_range = "low" in plain and "high" in plain
    if has_range == (CHOICES in plain) or (CHOICES in plain and set(plain) & set(RANGE)):
        raise ConfigError(f"{where} must have either low and high, or choices.")
    if CHOICES in plain:
        return Dimension(key, _categorical(where, [_text(one) for one in _listed(plain[CHOICES])]), when)
    return Dimension(key, _range(where, plain["low"], plain["high"], plain.get("log", False), plain.get("step")), when)


def _of_word(key: str, override: Override) -> Dimension:
    """A dimension as it is typed."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        return Dimension(key, _range(key, value.start, value.end, LOG in value.tags, None), {})
    if isinstance(value, RangeSweep) and isinstance(value.start, int) and isinstance(value.step, int):
        assert value.stop is not None
        last = value.start + (int(value.stop) - 1 - value.start) // value.step * value.step
        return Dimension(key, _range(key, value.start, last, LOG in value.tags, value.step), {})
    return Dimension(key, _categorical(key, list(override.sweep_string_iterator())), {})


def _range(where: str, low: Any, high: Any, log: Any, step: Any) -> BaseDistribution:
    numbers = [low, high, *([] if step is None else [step])]
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers):
        raise ConfigError(f"{where}: low, high and step must be numbers, not {', '.join(map(str, numbers))}.")
    if not isinstance(log, bool):
        raise ConfigError(f"{where}: log={log} must be true or false.")
    try:
        if all(isinstance(one, int) for one in numbers):
            return IntDistribution(low, high, log=log, step=1 if step is None else step)
        return FloatDistribution(float(low), float(high), log=log, step=step)
    except ValueError as error:
        raise ConfigError(f"{where} cannot be searched: {str(error).rstrip('.')}.") from error


def _categorical(where: str, choices: list[str]) -> BaseDistribution:
    if not choices:
        raise ConfigError(f"{where}: choices is empty: give some, or leave the setting out.")
    return CategoricalDistribution(choices)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
