"""From a composed configuration to checked objects: types, ranges, and what takes two settings to judge."""

import dataclasses
import math
import reprlib
import types
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from gesture.config.names import FIXED_SIZE, FIXED_SIZE_BACKBONES, WEIGHT_FILES
from gesture.config.refusals import ConfigError, nearest
from gesture.config.schema import (
    CHOICES,
    MISSING,
    OTHERS,
    AuditConfig,
    AutoAccelerator,
    FoldSplit,
    Joblib,
    RandomSplit,
    SplitConfig,
    TrainConfig,
)

C = TypeVar("C")

SMALLEST_IMAGE = 32
KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    dict: "a group of settings",
}
MANY = 20
"""Names that are no longer shown with a refusal."""
LONGEST = 200
"""Letters of a value that are shown."""
SHORT = reprlib.Repr()
SHORT.maxstring = LONGEST


def typed(schema: type[C], plain: Any, prefix: str = "", root: type | None = None) -> C:
    """The plain values of one dataclass, each of its field's type and in its range.

    Args:
        schema: the dataclass.
        plain: its values by name.
        prefix: where in the whole configuration `root` it stands, "data." for instance.

    Raises:
        ConfigError: an unknown or missing key, a wrong type, a value out of range.
    """
    root = root or schema
    if not isinstance(plain, dict):
        raise ConfigError(f"{prefix.removesuffix('.')} must be a group of settings, not {shown(plain)}.")
    hints, fields = get_type_hints(schema), {item.name: item for item in dataclasses.fields(schema)}  # type: ignore[arg-type]
    for key in plain:
        if key not in fields:
            raise ConfigError(explain_unknown(f"{prefix}{key}", plain.get("name"), root))
    values: dict[str, Any] = {}
    for name, item in fields.items():
        key, value = f"{prefix}{name}", plain.get(name, MISSING)
        if "is_part" in item.metadata:
            values[name] = None if value in (None, MISSING) else _part(key, value, item, root)
            continue
        if "schema" in item.metadata and value in (None, MISSING) and _takes_none(hints[name]):
            values[name] = None
            continue
        inner = schema_of(item, name, value)
        if inner is not None:
            if value is None or value == MISSING:
                raise ConfigError(f"{key} is not set: give {key}=...")
            values[name] = typed(inner, value, f"{key}.", root)
            continue
        if value == MISSING:
            raise ConfigError(f"{key} is not set: give {key}=...")
        values[name] = _converted(key, value, hints[name], item.metadata)
        if values[name] is not None:
            _check_range(key, values[name], item.metadata)
    return schema(**values)


def _part(key: str, plain: Any, item: Any, root: type) -> dict[str, Any]:
    """The settings given of a group; what is wrong with their values is seen when the others are known."""
    if not isinstance(plain, dict) or "name" not in plain:
        raise ConfigError(f"{key}.* is given and {key} is not: give {key}={' or '.join(CHOICES[item.name])} too.")
    schema: Any = schema_of(item, item.name, plain)
    known = {each.name for each in dataclasses.fields(schema)}
    for name, value in plain.items():
        if name not in known:
            raise ConfigError(explain_unknown(f"{key}.{name}", plain["name"], root))
        if value == MISSING:
            raise ConfigError(f"{key}.{name} is not set: give {key}.{name}=...")
    return plain


def schema_of(item: Any, name: str, value: Any) -> type | None:
    """The dataclass that a field's settings are, or None for a single setting."""
    if "schema" not in item.metadata:
        return None
    if item.metadata["schema"] is not None:
        schema: type = item.metadata["schema"]
        return schema
    choices = CHOICES[name]
    chosen = value.get("name") if isinstance(value, dict) else None
    if chosen in choices or OTHERS in choices:
        return choices.get(str(chosen), choices.get(OTHERS))
    raise ConfigError(f"{name}.name={shown(chosen)} is unknown: {nearest(shown(chosen), list(choices))}")


def _takes_none(hint: Any) -> bool:
    return type(None) in get_args(hint)


def explain_unknown(key: str, choice: Any, *schemas: type) -> str:
    """What to type instead of a setting that does not exist, or that another choice than this one of its group has."""
    group, _, name = key.rpartition(".")
    choices = CHOICES.get(group, {}) if any(_is_chosen(group, schema) for schema in schemas) else {}
    owners = [
        other for other, schema in choices.items() if any(item.name == name for item in dataclasses.fields(schema))
    ]
    if owners:
        wanted = " or ".join(f"{group}={other}" for other in owners if other != OTHERS) or f"another {group}"
        return f"{key} is read by {wanted} only, and this is {group}={choice}: leave it out."
    if group.startswith("hydra"):
        return f"{key} is none of Hydra's settings: --cfg hydra shows them."
    names = setting_names(*schemas)
    if key in names and group.startswith("logger."):
        logger = group.removeprefix("logger.")
        return f"{key} is read by logger={logger} only: give that too, or leave it out."
    names = [known for known in names if "." not in key or "." in known]
    return f"{key} is not a setting: {nearest(key, names)} (--help lists all)"


def _is_chosen(group: str, schema: type) -> bool:
    """Whether a group's settings depend on a choice in a configuration."""
    return any(
        item.name == group and item.metadata.get("schema", schema) is None for item in dataclasses.fields(schema)
    )


def setting_names(*schemas: type) -> list[str]:
    """Every setting of every choice in dotted form, and the groups themselves."""
    names: dict[str, None] = {}
    for schema in schemas:
        _add_names(names, schema, "")
    if TrainConfig in schemas:
        names["experiment"] = None
    return list(names)


def _add_names(names: dict[str, None], schema: type, prefix: str) -> None:
    for item in dataclasses.fields(schema):
        if "schema" not in item.metadata:
            names[prefix + item.name] = None
            continue
        names[prefix + item.name] = None
        chosen = item.metadata["schema"]
        for inner in [chosen] if chosen else CHOICES[item.name].values():
            _add_names(names, inner, f"{prefix}{item.name}.")


def _converted(key: str, value: Any, hint: Any, metadata: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        if value is None:
            return None
        hint = next(one for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is list:
        if not isinstance(value, list):
            raise ConfigError(_wants(key, value, list, metadata))
        [inner] = get_args(hint)
        return [_converted(key, one, inner, metadata) for one in value]
    if get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise ConfigError(_wants(key, value, dict, metadata))
        return value
    if hint is str and isinstance(value, bool):
        return str(value).lower()
    if hint is str and isinstance(value, int | float | str):
        return str(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(_wants(key, value, hint, metadata))
    return value


def _wants(key: str, value: Any, kind: type, metadata: Any) -> str:
    example = f", such as {key}={metadata['example']}" if metadata.get("example") else ""
    several = "; to try several values, add -m" if isinstance(value, str) and "," in value and kind is not list else ""
    limits = [f"{name.replace('_', ' ')} {limit}" for name, limit in metadata["limits"].items() if limit is not None]
    return f"{key}={shown(value)} must be {' and '.join([KINDS[kind], *limits])}{example}{several}."


def shown(value: Any) -> str:
    """A value in a sentence, however large it is."""
    return value[:LONGEST] if isinstance(value, str) else SHORT.repr(value)


def _check_range(key: str, value: Any, metadata: Any) -> None:
    one_of = metadata["one_of"]
    if one_of and value not in one_of:
        where = f" --help lists all {len(one_of)}." if len(one_of) > MANY else ""
        raise ConfigError(f"{key}={value!r} is unknown: {nearest(str(value), one_of)}{where}")
    if value == "" or (isinstance(value, float) and not math.isfinite(value)):
        raise ConfigError(f"{key}={value} is no value: leave it out or give one.")
    tests = {
        "above": lambda limit: value > limit,
        "at_least": lambda limit: value >= limit,
        "below": lambda limit: value < limit,
        "at_most": lambda limit: value <= limit,
    }
    for name, limit in metadata["limits"].items():
        if limit is not None and not tests[name](limit):
            raise ConfigError(f"{key}={value} is out of range: it must be {name.replace('_', ' ')} {limit}.")


def check_training(config: TrainConfig) -> None:
    """What takes two settings to judge."""
    _check_images(config)
    _check_split(config.split)
    _check_devices(config)
    _check_epochs(config)
    weights = config.backbone.weights
    if weights.endswith(WEIGHT_FILES) and not Path(weights).expanduser().is_file():
        raise ConfigError(f"backbone.weights='{weights}' does not exist: give a .pth file, a torchvision name or none.")
    if isinstance(config.launcher, Joblib) and config.launcher.at_once == 0:
        raise ConfigError("launcher.at_once=0 starts nothing: give -1 for as many as there are cores, or a number.")
    if any(sep in config.name for sep in "/\\") or config.name in ("", ".", ".."):
        raise ConfigError(f"name={config.name!r} must be a plain folder name: runs are kept under logs/<name>/.")


def check_audit(config: AuditConfig) -> None:
    """What takes two settings to judge."""
    _check_size(config.data.image_size)
    _check_split(config.split)


def _check_size(size: list[int]) -> None:
    if len(size) != 2 or min(size) < SMALLEST_IMAGE:
        raise ConfigError(
            f"data.image_size={size} must be [height,width] with {SMALLEST_IMAGE} or more pixels each, such as "
            "[224,224]."
        )


def _check_images(config: TrainConfig) -> None:
    size, backbone = config.data.image_size, config.backbone
    _check_size(size)
    if backbone.name in FIXED_SIZE_BACKBONES and (size != [FIXED_SIZE] * 2 or config.trainer.half_size_fraction):
        raise ConfigError(
            f"backbone.name={backbone.name} takes 224x224 images only: give data.image_size=[224,224] and "
            "trainer.half_size_fraction=0."
        )


def _check_split(split: SplitConfig) -> None:
    if isinstance(split, RandomSplit) and split.val_fraction + split.test_fraction >= 1:
        raise ConfigError(
            "split.val_fraction and split.test_fraction leave nothing to train on: their sum must be < 1."
        )
    if isinstance(split, FoldSplit) and split.fold >= split.folds:
        raise ConfigError(f"split.fold={split.fold} must be below split.folds={split.folds}: folds count from 0.")


def _check_devices(config: TrainConfig) -> None:
    trainer, accelerator = config.trainer, config.accelerator
    if trainer.devices != "auto" and not (trainer.devices.isdigit() and int(trainer.devices) > 0):
        raise ConfigError(f"trainer.devices={trainer.devices} must be auto or a number above 0.")
    if accelerator.graphs and not isinstance(accelerator, AutoAccelerator) and accelerator.name != "cuda":
        raise ConfigError(f"accelerator.graphs=true needs CUDA, and this is accelerator={accelerator.name}.")
    sharded = {"trainer.ema_decay": trainer.ema_decay, "backbone.freeze_epochs": config.backbone.freeze_epochs}
    for name, value in sharded.items():
        if trainer.strategy == "fsdp" and value:
            raise ConfigError(f"{name}={value} needs whole parameters, which strategy=fsdp shards: give ddp.")


def _check_epochs(config: TrainConfig) -> None:
    trainer = config.trainer
    for name in ("limit_train_batches", "limit_val_batches"):
        limit = getattr(trainer, name)
        if limit > 1 and not limit.is_integer():
            raise ConfigError(f"trainer.{name}={limit} must be a share up to 1.0, or a whole number of batches.")
    if trainer.check_val_every_n_epoch > trainer.max_epochs and not trainer.fast_dev_run:
        raise ConfigError(
            f"trainer.check_val_every_n_epoch={trainer.check_val_every_n_epoch} is more than "
            f"trainer.max_epochs={trainer.max_epochs}: no epoch would be validated, so none could be the best."
        )
