"""Numbers as people read them, each tied to the place in a record that it was taken from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gesture.report.markup import Element, tag

NOT_MEASURED = "not measured"
SMALL = 0.001
"""Smaller decimals are written with two digits that count."""
MOST_DIGITS = 5
MOST_NAMES = 40

Form = Callable[[float], str]


def share(value: float) -> str:
    """A part of 1 in percent; what is not all or nothing does not look so."""
    for digits in range(1, MOST_DIGITS):
        text = f"{100 * value:.{digits}f}"
        if float(text) not in (0, 100) or value in (0, 1):
            break
    return f"{text} %"


def level(value: float) -> str:
    """A round part of 1 that somebody chose."""
    return f"{100 * value:g} %"


def decimal(value: float) -> str:
    """A loss, a temperature, an error of calibration."""
    return f"{value:.3f}" if abs(value) >= SMALL or value == 0 else f"{value:.1e}"


def points(value: float) -> str:
    """A difference of shares, in percentage points with its sign."""
    return f"{100 * value:+.1f} points"


def whole(value: float) -> str:
    """A number of things."""
    return f"{value:,.0f}"


def people(value: float) -> str:
    """A number of people."""
    return f"{value:,.0f} {'person' if value == 1 else 'people'}"


def epochs(value: float) -> str:
    """A number of epochs."""
    return f"{value:,.0f} {'epoch' if value == 1 else 'epochs'}"


def seconds(value: float) -> str:
    """A duration."""
    return f"{value:,.1f} s"


@dataclass(frozen=True)
class Figures:
    """The numbers of one file. What is asked for is looked up, so that it cannot be another's."""

    source: str
    """The file's name, such as result.json; of predictions.csv what is computed from it."""
    record: Mapping[str, Any]

    def __call__(self, form: Form, *keys: str | int) -> Element:
        """The number at a place of the record; one that is null or absent was not measured."""
        value = self.value(*keys)
        place = f"{self.source}#{pointer_of(*keys)}"
        if value is None:
            return tag("span", NOT_MEASURED, class_="none", data_value="null", data_from=place)
        return tag("span", form(value), data_value=repr(value), data_from=place)

    def value(self, *keys: str | int) -> Any:
        """What stands at a place; None where nothing does."""
        found: Any = self.record
        for key in keys:
            if isinstance(found, Mapping):
                found = found.get(key)
            elif isinstance(found, list | tuple) and isinstance(key, int) and key < len(found):
                found = found[key]
            else:
                return None
        return found


def pointer_of(*keys: str | int) -> str:
    """A place in a JSON file (RFC 6901)."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def short(name: str, most: int) -> str:
    """A name in one line, its middle left out where it is longer than `most` letters."""
    name = " ".join(name.split())
    return name if len(name) <= most else f"{name[: (most - 1) // 2]}…{name[-(most // 2) :]}"


def listed(names: Sequence[str] | None) -> str:
    """Names in one line, the first MOST_NAMES of many; none are names that nobody knows."""
    if not names:
        return "not known"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
