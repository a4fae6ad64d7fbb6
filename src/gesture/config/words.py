"""What a person types for a text setting is taken as it stands, where Hydra's grammar would want a second quoting."""

import dataclasses
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from gesture.config.checks import setting_names
from gesture.config.schema import CHOICES

HYDRAS_TEXTS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
OF_THE_SWEEP = ("sweep", "launcher")
OPENING, CLOSING = "([{", ")]}"
WORD = re.compile(r"(?P<key>[+~]{0,2}[\w./@-]+)=(?P<value>.*)", re.DOTALL)


def as_hydra_reads(words: Sequence[str], schema: type, multirun: bool = False) -> list[str]:
    """The words in Hydra's grammar; in a multirun, commas outside of brackets separate values."""
    return [_quoted(word, schema, multirun) for word in words]


def _quoted(word: str, schema: type, multirun: bool) -> str:
    found = WORD.fullmatch(word)
    bare = found["key"].lstrip("+") if found else ""
    if found and bare != found["key"] and bare in setting_names(schema) and bare not in _settings_of_parts(schema):
        return _quoted(word.lstrip("+"), schema, multirun)  # which Hydra would refuse, since it is there already
    if found and found["key"] in _settings_of_parts(schema):
        return _quoted(f"++{word}", schema, multirun)  # which Hydra takes, though only a run's settings have it yet
    kind = texts(schema).get(found["key"].lstrip("+~")) if found else None
    if found is None or kind is None or found["value"] in ("", "null", "???") or _is_quoted(found["value"]):
        return word
    value = found["value"]
    if kind is list:
        return word if _hydra_can_read(word) else f"{found['key']}={_quoted_lists(value, multirun)}"
    if not multirun:
        return f"{found['key']}={_quote(value)}"
    if _hydra_can_read(word):  # a choice(...), a glob(...), or plain values
        return word
    return f"{found['key']}={','.join(_quote(one) for one in split_at_commas(value))}"


@cache
def _settings_of_parts(schema: type) -> frozenset[str]:
    """The settings of groups of which only some are given."""
    parts = tuple(f"{item.name}." for item in dataclasses.fields(schema) if "is_part" in item.metadata)
    return frozenset(name for name in setting_names(schema) if name.startswith(parts)) if parts else frozenset()


def with_places(words: Sequence[str], key: str) -> list[str]:
    """The words with those that are no settings, but places, as a list that `key` has; one place needs no brackets."""
    named = [word for word in words if word.startswith(f"{key}=") and not word.startswith(f"{key}=[")]
    places = [word for word in words if word in named or not WORD.fullmatch(word) or Path(word).exists()]
    if not places:
        return list(words)
    quoted = ",".join(_quote(word.removeprefix(f"{key}=") if word in named else word) for word in places)
    return [*(word for word in words if word not in places), f"{key}=[{quoted}]"]


def key_of(word: str) -> str:
    """The name of a word's setting."""
    return word.partition("=")[0].lstrip("+~")


def of_runs(words: Sequence[str]) -> list[str]:
    """The words without those of a sweep as a whole, which its runs do not have."""
    return [word for word in words if key_of(word).partition(".")[0] not in OF_THE_SWEEP]


@cache
def texts(schema: type) -> dict[str, Any]:
    """The settings that take text or a list of texts, with `str` or `list`."""
    found: dict[str, Any] = dict.fromkeys(HYDRAS_TEXTS, str)
    _add_texts(found, schema, "")
    return found


def _add_texts(found: dict[str, Any], schema: type, prefix: str) -> None:
    hints = get_type_hints(schema)
    for item in dataclasses.fields(schema):
        if "schema" in item.metadata:
            chosen = item.metadata["schema"]
            for inner in [chosen] if chosen else CHOICES[item.name].values():
                _add_texts(found, inner, f"{prefix}{item.name}.")
        elif not item.metadata["one_of"] and (item.name != "name" or not prefix):
            kinds = [hints[item.name], *get_args(hints[item.name])]
            if str in kinds and get_origin(hints[item.name]) is not list:
                found[prefix + item.name] = str
            elif any(get_origin(kind) is list and get_args(kind) == (str,) for kind in kinds):
                found[prefix + item.name] = list


def _is_quoted(value: str) -> bool:
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\""


def _quote(value: str) -> str:
    """Hydra's single quotes: a backslash counts only before a quote or at the end."""
    if value == "null" or _is_quoted(value):
        return value
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value)
    return f"'{escaped}'"


def _quoted_lists(value: str, multirun: bool) -> str:
    lists = split_at_commas(value) if multirun else [value]
    return ",".join(_quoted_list(one) for one in lists)


def _quoted_list(value: str) -> str:
    if not (value.startswith("[") and value.endswith("]")):
        return value  # no list: the type's check says so
    return f"[{','.join(_quote(one.strip()) for one in split_at_commas(value[1:-1]))}]"


def split_at_commas(value: str) -> list[str]:
    """The parts between commas that stand outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in value:
        if letter == "," and depth == 0 and not quote:
            parts.append("")
            continue
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        depth += (letter in OPENING) - (letter in CLOSING) if not quote else 0
        parts[-1] += letter
    return parts


def _hydra_can_read(word: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_overrides([word])
    except HydraException:
        return False
    return True
