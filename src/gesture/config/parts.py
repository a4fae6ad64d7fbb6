"""Groups of settings of which a person gives some, and a finished run has the others."""

import dataclasses
from typing import Any

from gesture.config.checks import typed
from gesture.config.schema import CHOICES


def completed(group: str, given: dict[str, Any], otherwise: Any) -> Any:
    """The settings of a group of which some are given; the others are those of `otherwise`, where the choice has them.

    Args:
        group: its name.
        given: what `part` fields hold.
        otherwise: another choice's settings, of a run for instance.

    Raises:
        ConfigError: a missing setting, a wrong type, a value out of range.
    """
    schema = CHOICES[group][given["name"]]
    names = {item.name for item in dataclasses.fields(schema)}
    known = {name: value for name, value in dataclasses.asdict(otherwise).items() if name in names}
    return typed(schema, {**known, **given}, f"{group}.")
