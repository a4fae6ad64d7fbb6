"""What OmegaConf and Hydra raise, as one sentence to the person at the keyboard."""

import dataclasses
import difflib
from collections.abc import Sequence

from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

EXPERIMENT = "experiment"
"""The group whose choices set other groups' settings and none of its own, so that no schema names it."""


def explain(error: OmegaConfBaseException, schema: type) -> str:
    """OmegaConf's exception as one sentence with a remedy."""
    key = error.full_key or str(error.key)
    if isinstance(error, ConfigKeyError | ConfigAttributeError):
        return f"{key} is not a setting: {nearest(key, [*setting_names(schema), EXPERIMENT])} (--help lists all)."
    if isinstance(error, MissingMandatoryValue):
        return f"{key} is not set: give {key}=..."
    return f"{key}: {str(error.msg or error).splitlines()[0]}"


def nearest(word: str, names: Sequence[str], most: int = 3) -> str:
    """The names most like a word: "did you mean a, b?", or the first ones where none is like it."""
    close = difflib.get_close_matches(word, names, n=most, cutoff=0.4)
    return f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(names[:8])} ..."


def setting_names(schema: type, prefix: str = "") -> Sequence[str]:
    """Every key of a schema in dotted form."""
    names = []
    for item in dataclasses.fields(schema):
        inner = item.default_factory
        if isinstance(inner, type) and dataclasses.is_dataclass(inner):
            names += setting_names(inner, f"{prefix}{item.name}.")
        else:
            names.append(prefix + item.name)
    return names


def explain_hydra(error: Exception, schema: type) -> str:
    """Hydra's exception as one sentence with a remedy."""
    from hydra.errors import MissingConfigException, OverrideParseException

    if isinstance(error, OverrideParseException):
        return f"'{error.override}' cannot be read as <setting>=<value>: {str(error).splitlines()[0]}"
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        return _explain_missing_option(error.missing_cfg_file, list(error.options))
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OmegaConfBaseException):
            return explain(cause, schema)
        cause = cause.__cause__ or cause.__context__
    return str(error).splitlines()[0]


def _explain_missing_option(file: str, options: list[str]) -> str:
    group, _, choice = file.removesuffix(".yaml").rpartition("/")
    order = difflib.get_close_matches(choice, options, n=len(options), cutoff=0)
    more = "; backbone.name= takes any other torchvision network" if group == "backbone" else ""
    return f"{group}={choice!r} is unknown: choose one of {', '.join(order)}{more}."
