"""Groups of people: the worst one, and how far apart they are."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gesture.config.refusals import ConfigError
from gesture.data.files import read_regular

COLUMNS = ("subject", "group")


def read_groups(path: Path) -> dict[str, str]:
    """The group of each person that a CSV file with the columns subject and group tells.

    Raises:
        ConfigError: it cannot be read, lacks a column, or tells two groups of one person.
    """
    try:
        text = read_regular(path).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"groups='{path}' cannot be read ({why}): give a CSV file of subject,group.") from error
    group_of: dict[str, str] = {}
    for row in rows:
        subject, group = ((row.get(column) or "").strip() for column in COLUMNS)
        if not subject or not group:
            raise ConfigError(f"groups='{path}' has a row without {' or '.join(COLUMNS)}: its first line must be both.")
        if group_of.setdefault(subject, group) != group:
            raise ConfigError(f"groups='{path}' puts '{subject}' into two groups: leave one out.")
    if not group_of:
        raise ConfigError(f"groups='{path}' has no rows: give a CSV file of subject,group.")
    return group_of


def by_group(scores: Mapping[str, float], group_of: Mapping[str, str]) -> dict[str, Any]:
    """Each group's mean over its people, the worst group, and the gap between it and the best.

    Args:
        scores: each evaluated person's.
        group_of: each person's group; people without one are told of.

    Raises:
        ConfigError: it names none of the evaluated people.
    """
    people: dict[str, list[str]] = {}
    for person in scores:
        if person in group_of:
            people.setdefault(group_of[person], []).append(person)
    if not people:
        some = ", ".join(list(scores)[:5]) or "nobody known"
        raise ConfigError(f"groups names none of the people who are evaluated ({some}): write their names as they are.")
    means = {group: float(np.mean([scores[person] for person in theirs])) for group, theirs in people.items()}
    worst = min(means, key=lambda group: means[group])
    return {
        "groups": {group: {"people": people[group], "score": means[group]} for group in sorted(people)},
        "worst": {"group": worst, "score": means[worst]},
        "gap": max(means.values()) - means[worst],
        "without_group": [person for person in scores if person not in group_of],
    }
