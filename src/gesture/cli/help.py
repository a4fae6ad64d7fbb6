"""What --help shows: how to call a command, and every setting with its value, meaning and range."""

import dataclasses
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from gesture.config.checks import schema_of
from gesture.config.compose import SCHEMAS, compose_unchecked, config_dir
from gesture.config.schema import CHOICES, OTHERS, LoggerConfig, TrainConfig

WIDTH = 116
MEANING_COLUMN = 44
SWEEP = "  -m                    one run after another for every combination of values given with commas\n"
FLAGS = """\
  --cfg job             show the configuration instead of running
  --config-dir FOLDER   take group files, experiments for instance, from a folder of your own too
  --hydra-help          Hydra's other flags"""


def page(name: str, description: str, words: Sequence[str], own_dir: str | None) -> str:
    """The help of a command, with the values that these words give."""
    plain: Any = OmegaConf.to_container(compose_unchecked(name, words, own_dir), resolve=False)
    parts = [description.strip(), "Flags\n" + (SWEEP if name == "train" else "") + FLAGS]
    if groups := "\n".join(_groups(SCHEMAS[name], plain, own_dir)):
        parts.append("Groups (<group>=<choice>; the chosen one in brackets)\n" + groups)
    parts.append("Settings (<setting>=<value>)\n" + "\n".join(_settings(SCHEMAS[name], plain, "")))
    if name == "train":
        parts.append("Settings of other choices\n" + "\n".join(_others(plain)))
    return "\n\n".join(parts)


def _groups(schema: type, plain: dict[str, Any], own_dir: str | None) -> Iterator[str]:
    own = {item.name for item in dataclasses.fields(schema)}
    folders = [config_dir(), *([Path(own_dir).expanduser()] if own_dir else [])]
    for group in (*CHOICES, "logger", "experiment"):
        options = sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})
        if group in own or (group == "experiment" and schema is TrainConfig):
            chosen = (plain.get(group) or {}).get("name")
            shown = ", ".join(f"[{option}]" if option == chosen else option for option in options)
            yield _line(f"  {group}", shown)


def _settings(schema: type, plain: Any, prefix: str) -> Iterator[str]:
    for item in dataclasses.fields(schema):
        value = plain.get(item.name) if isinstance(plain, dict) else None
        if value is None and "is_part" in item.metadata:
            yield _line(f"  {prefix}{item.name}=null", item.metadata["meaning"])
            continue
        inner = schema_of(item, item.name, value)
        if inner is None and item.name == "name" and prefix not in ("", "backbone."):
            continue  # the groups say which
        if inner is None:
            yield _setting(prefix + item.name, value, item.metadata)
        elif isinstance(value, dict):
            yield from _settings(inner, value, f"{prefix}{item.name}.")


def _others(plain: dict[str, Any]) -> Iterator[str]:
    """What only the choices read that were not made."""
    for logger in dataclasses.fields(LoggerConfig):
        if plain["logger"][logger.name] is None:
            for item in dataclasses.fields(logger.metadata["schema"]):
                yield _line(f"  logger={logger.name} logger.{logger.name}.{item.name}", _meaning(item.metadata))
    for group, choices in CHOICES.items():
        values = plain.get(group)
        if not isinstance(values, dict):
            continue
        for choice, schema in choices.items():
            for item in dataclasses.fields(schema):
                if item.name not in values and "meaning" in item.metadata and "schema" not in item.metadata:
                    owner = f"{group}=..." if choice == OTHERS else f"{group}={choice}"
                    yield _line(f"  {owner} {group}.{item.name}", _meaning(item.metadata))


def _setting(key: str, value: Any, metadata: Any) -> str:
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return _line(f"  {key}={shown}", _meaning(metadata))


def _meaning(metadata: Any) -> str:
    words = [metadata["meaning"]]
    limits = [f"{name.replace('_', ' ')} {limit}" for name, limit in metadata["limits"].items() if limit is not None]
    if limits:
        words.append(f"({', '.join(limits)})")
    if metadata["one_of"]:
        words.append(f"[{', '.join(metadata['one_of'])}]")
    if metadata["example"]:
        words.append(f"Such as {metadata['example']}.")
    return " ".join(words)


def _line(start: str, text: str) -> str:
    wrapped = textwrap.wrap(text, WIDTH - MEANING_COLUMN) or [""]
    indent = "\n" + " " * MEANING_COLUMN
    if len(start) >= MEANING_COLUMN:
        return start + indent + indent.join(wrapped)
    return start.ljust(MEANING_COLUMN) + indent.join(wrapped)
