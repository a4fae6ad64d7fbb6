"""Configurations that runs recorded: written with their version, read whatever their version."""

import dataclasses
from typing import Any

import yaml

from gesture.config.checks import typed
from gesture.config.refusals import ConfigError
from gesture.config.schema import CHOICES, OTHERS, TrainConfig

VERSION_KEY, VERSION = "version", 2
"""Raised when settings get other names or meanings; `_upgraded` then brings older records up."""

Plain = dict[str, Any]

ADDED_BY_2: dict[str, Plain] = {
    "data": {"cache_gb": 20.0, "depth": 8, "exclude": [], "balance": "none"},
    "network": {"normalisation": "plain"},
    "loss": {"class_weights": "none"},
    "scheduler": {"monitor": "val/loss"},
    "accelerator": {
        "graphs": None,
        "cuda": {"precision": "bf16-mixed", "channels_last": True, "compile": False, "graphs": True, "name": "cuda"},
        "mps": {"precision": "32-true", "channels_last": False, "compile": False, "graphs": False, "name": "mps"},
        "cpu": {"precision": "auto", "channels_last": True, "compile": False, "graphs": False, "name": "cpu"},
    },
    "trainer": {
        "half_size_fraction": 0.0,
        "num_nodes": 1,
        "sync_batchnorm": False,
        "gradient_clip_val": None,
        "accumulate_grad_batches": 1,
        "limit_train_batches": 1.0,
        "limit_val_batches": 1.0,
        "check_val_every_n_epoch": 1,
        "fast_dev_run": False,
        "deterministic": False,
        "profiler": None,
        "log_every_n_steps": 50,
        "ema_decay": None,
    },
    "early_stopping": {"patience": None},
    "checkpoint": {"every_n_steps": None, "every_minutes": None},
    "logger": {"tensorboard": {}, "wandb": None, "mlflow": None},
}
"""Settings that records of version 1 lack, with the values it worked with."""


def to_yaml(config: TrainConfig) -> str:
    """The configuration with its version."""
    plain = {VERSION_KEY: VERSION, **dataclasses.asdict(config)}
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    return text


def from_yaml(text: str, source: str) -> TrainConfig:
    """The configuration that `to_yaml` of this or an earlier version wrote.

    Raises:
        ConfigError: it is damaged, or of a later version; `source` is named.
    """
    try:
        plain = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"'{source}' is damaged: it is no YAML.") from error
    return from_plain(plain, source)


def from_plain(plain: Any, source: str) -> TrainConfig:
    """The configuration of a record; what it names, files for instance, need not exist any more.

    Raises:
        ConfigError: it is damaged, or of a later version; `source` is named.
    """
    if not isinstance(plain, dict) or not isinstance(version := plain.get(VERSION_KEY, 1), int):
        raise ConfigError(f"'{source}' is damaged: it holds no configuration.")
    if version > VERSION:
        raise ConfigError(f"'{source}' is of a later version of gesture: install that one to read it.")
    plain = {key: value for key, value in plain.items() if key != VERSION_KEY}
    try:
        return typed(TrainConfig, _upgraded(plain) if version == 1 else plain)
    except ConfigError as error:
        raise ConfigError(f"'{source}' is damaged: {error}") from error


def _upgraded(plain: Plain) -> Plain:
    """Version 1 wrote null for what another choice of the group reads, and lacked what was added since."""
    groups = {"resume": None, **{name: {} for name in ADDED_BY_2}, **plain}
    return {name: _upgraded_group(name, values) for name, values in groups.items()}


def _upgraded_group(name: str, values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    added = ADDED_BY_2.get(name, {})
    if name == "accelerator":  # one that is named is filled with its own settings
        added = added.get(str(values.get("name")), added)
    filled = {**added, **values}
    choices = CHOICES.get(name)
    schema = choices.get(str(values.get("name")), choices.get(OTHERS)) if choices else None
    if schema is None:
        return filled
    read = {item.name for item in dataclasses.fields(schema)}
    defaults = {"download": False}  # version 1 wrote null for false
    return {key: defaults.get(key) if value is None else value for key, value in filled.items() if key in read}
