"""What Hydra calls with a composed configuration, here or in a launcher's process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from gesture.cli.requeue import handed_to_submitit
from gesture.config.compose import parse
from gesture.config.refusals import ConfigError
from gesture.data.files import make_writable
from gesture.process import raised_at_once

DONE, FAILED, REFUSED, CROSSED = 0, 1, 2, 3
"""Exit codes; a stop has its signal's."""

Main = Callable[..., Any]
"""Takes the checked configuration; a search's trainings take its judge too."""


def made(name: str, setting: str) -> Path:
    """The folder that a setting of Hydra's names, made; Hydra would not say which setting that is.

    Raises:
        ConfigError: it is empty, or cannot be made or written to.
    """
    if not name:
        raise ConfigError(f"{setting} is empty: leave it out or give a folder.")
    folder = Path(name).expanduser()
    make_writable(folder, setting)
    return folder


@dataclass(frozen=True)
class Job:
    """A command's work, after the check of its configuration."""

    main: Main
    schema: type

    def __call__(self, composed: DictConfig) -> Any:
        with handed_to_submitit(), raised_at_once():
            return self.main(parse(composed, self.schema))
