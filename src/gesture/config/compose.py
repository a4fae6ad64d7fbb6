"""The one way to a checked configuration, for the command line, tests, benchmarks and Python."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from gesture.config.checks import check_audit, check_training, explain_unknown, setting_names, typed
from gesture.config.refusals import ConfigError, nearest
from gesture.config.schema import CHOICES, AuditConfig, CompareConfig, EvaluateConfig, PredictConfig, TrainConfig
from gesture.config.words import as_hydra_reads

C = TypeVar("C")

SCHEMAS: dict[str, type] = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "audit": AuditConfig,
    "compare": CompareConfig,
}
"""The commands that are configured by configs/<name>.yaml, with what their configuration is."""


MORE_CHOICES = {
    "backbone": " backbone.name= takes any of torchvision's networks.",
    "hydra/launcher": " joblib and submitit's come with the extra `sweep`: pip install -e '.[sweep]'.",
}
"""Where else to look for a choice that a group does not have."""
AMBIGUOUS = re.compile(r"Ambiguous value for argument '(.*)'")
NO_GROUP = re.compile(r"Could not (?:override|delete) '(.*)'\.")
SINGLE_CHOICE_GROUPS = (*CHOICES, "experiment")
"""`logger` takes several."""


def config_dir() -> Path:
    """configs/ of the source checkout, or its copy inside an installed package."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parents[1] / "configs"


def use_dir(name: str) -> Path | None:
    """The group files of commands that use a finished run, which come before all others."""
    return None if SCHEMAS[name] is TrainConfig else config_dir() / "use"


def compose(name: str, words: Sequence[str] = ()) -> Any:
    """The checked configuration of a command with these words, typed as in a shell.

    Args:
        name: the command.
        words: overrides, `<setting>=<value>`.

    Raises:
        ConfigError: a word that cannot be read, an unknown setting, a wrong value.
    """
    if name not in SCHEMAS:
        raise ConfigError(f"'{name}' is no command: give {', '.join(SCHEMAS)} first, and its settings one by one.")
    return parse(compose_unchecked(name, read_words(words, SCHEMAS[name])), SCHEMAS[name])


def compose_unchecked(name: str, words: Sequence[str], own_dir: str | None = None) -> DictConfig:
    """What Hydra composes of words in its own grammar.

    Raises:
        ConfigError: a word that cannot be read, or a setting or choice that does not exist.
    """
    from hydra.types import RunMode

    with initialized(name, own_dir) as hydra:
        return settings_of(hydra.compose_config(name, list(words), RunMode.RUN, with_log_configuration=False))


def read_words(words: Sequence[str], schema: type, multirun: bool = False) -> list[str]:
    """The words as Hydra reads them.

    Raises:
        ConfigError: a word that cannot be read, a setting given twice, several choices where one is wanted.
    """
    from hydra.errors import HydraException

    for word in words:
        if not isinstance(word, str):
            raise ConfigError(f"{word!r} is no setting: give each as a text of its own, 'optimizer.lr=1e-4'.")
    try:
        read = as_hydra_reads(words, schema, multirun)
        _check_words(read)
    except HydraException as error:
        raise ConfigError(explain(error, schema)) from error
    return read


def settings_of(composed: DictConfig) -> DictConfig:
    """The command's own settings, without Hydra's."""
    with open_dict(composed):
        return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def _check_words(words: Sequence[str]) -> None:
    """Hydra would merge or overwrite what is given twice, and merge several choices of one group."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    seen: dict[str, str] = {}
    for override in OverridesParser.create().parse_overrides(list(words)):
        key, word = override.get_key_element().lstrip("+~"), str(override.input_line)
        if key in seen and seen[key] != word:
            raise ConfigError(f"{key} is given twice, as {seen[key]} and {word}: leave one out.")
        seen[key] = word
        if key.partition(".")[0] == "launcher" and override.is_sweep_override():
            raise ConfigError(f"{word} gives several values, and a sweep has one launcher: give one.")
        if key in SINGLE_CHOICE_GROUPS and isinstance(override.value(), list):
            raise ConfigError(f"{word} names several choices, and {key} takes one; to try one after the other, add -m.")


@contextmanager
def initialized(name: str, own_dir: str | None = None) -> Iterator[Any]:
    """Hydra, with our configurations and those of a folder of one's own, which come first.

    Raises:
        ConfigError: there is no such folder; or what Hydra raised inside the block, in a sentence.
    """
    from hydra import initialize_config_dir
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from yaml import YAMLError

    from gesture.config.targets import CheckedLoader

    if own_dir and not Path(own_dir).expanduser().is_dir():
        raise ConfigError(f"--config-dir '{own_dir}' is no folder: give one that holds groups such as experiment/.")
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir()), job_name=name):
        hydra: Any = GlobalHydra.instance().hydra
        path = hydra.config_loader.get_search_path()
        for provider, folder in (("use", use_dir(name)), ("command-line", own_dir)):
            if folder:
                place = f"file://{Path(folder).expanduser().resolve()}"
                path.prepend(provider, place, SearchPathQuery(provider="main"))
        hydra.config_loader = CheckedLoader(path)
        try:
            yield hydra
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(explain(error, SCHEMAS[name])) from error
        except (YAMLError, RecursionError) as error:
            what = " ".join(str(error).split())
            raise ConfigError(f"a configuration file is no YAML of plain settings ({what}): mend it.") from error


def parse(composed: DictConfig, schema: type[C]) -> C:
    """The composed configuration as a checked `schema` object.

    Raises:
        ConfigError: an unknown key, a wrong type, a value out of range, or one that nothing reads.
    """
    try:
        plain = OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error, schema)) from error
    config = typed(schema, plain)
    if isinstance(config, TrainConfig):
        check_training(config)
    if isinstance(config, AuditConfig):
        check_audit(config)
    return config


def explain(error: Exception, schema: type) -> str:
    """Hydra's or OmegaConf's exception as one sentence with a remedy."""
    from hydra.errors import MissingConfigException, OverrideParseException

    if isinstance(error, OverrideParseException) and "=" not in error.override and (takers := _takers_of_paths(schema)):
        meant = " or ".join(f"{taker}={error.override}" for taker in takers)
        return f"'{error.override}' is no <setting>=<value>: did you mean {meant}?"
    if isinstance(error, OverrideParseException):
        return f"'{error.override}' cannot be read as <setting>=<value>: {str(error).splitlines()[0]}."
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.removesuffix(".yaml").rpartition("/")
        return f"{group}={choice!r} is unknown: {nearest(choice, list(error.options))}{MORE_CHOICES.get(group, '')}"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OmegaConfBaseException):
            return _explain_omegaconf(cause, schema)
        cause = cause.__cause__ or cause.__context__
    line = str(error).splitlines()[0]
    if found := AMBIGUOUS.search(line):
        remedy = "to try one after the other, add -m" if schema is TrainConfig else "give one"
        return f"{found[1]} gives several values: {remedy}."
    if found := NO_GROUP.match(line):
        command = next(name for name, known in SCHEMAS.items() if known is schema)
        return f"{found[1]} is no setting of {command}: {nearest(found[1], setting_names(schema))} (--help lists all)"
    return line


def _takers_of_paths(schema: type) -> list[str]:
    """The settings that a path without its setting was most likely meant for."""
    return [item.name for item in dataclasses.fields(schema) if item.name in ("run", "input")]


def _explain_omegaconf(error: OmegaConfBaseException, schema: type) -> str:
    key = error.full_key or str(error.key)
    if isinstance(error, ConfigKeyError | ConfigAttributeError):
        choice = error.parent_node.get("name") if isinstance(error.parent_node, DictConfig) else None
        return explain_unknown(key, choice, schema)
    if isinstance(error, MissingMandatoryValue):
        return f"{key} is not set: give {key}=..."
    return f"{key}: {str(error.msg or error).splitlines()[0]}"
