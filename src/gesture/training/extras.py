"""What can be told of a training before anything heavy is imported."""

import dataclasses
import math
from importlib.util import find_spec

from gesture.config.refusals import ConfigError
from gesture.config.schema import LoggerConfig, TrainConfig

OF_LOGGERS = ("wandb", "mlflow")
"""Loggers whose package, of the same name, comes with an extra of the same name."""


USUAL_PIXELS = 2**24
"""Pixels of a batch, 334 images of 224 by 224, for which a machine is supposed to have the memory until it is asked."""


def is_unusual(config: TrainConfig) -> bool:
    """Whether batches or devices are such that torch had better judge them before the images are decoded."""
    pixels = config.data.batch_size * math.prod(config.data.image_size)
    devices = config.trainer.strategy == "fsdp" or config.trainer.devices not in ("1", "auto")
    return config.data.batch_size == 1 or pixels > USUAL_PIXELS or devices


def check_loggers(config: LoggerConfig) -> None:
    """See that every chosen logger is installed.

    Raises:
        ConfigError: one is not.
    """
    chosen = [item.name for item in dataclasses.fields(config) if getattr(config, item.name) is not None]
    for name in chosen:
        if name in OF_LOGGERS and find_spec(name) is None:
            raise ConfigError(
                f"logger={name} needs the package {name}, which is not installed: pip install 'gesture[{name}]', or "
                "give logger=tensorboard."
            )
