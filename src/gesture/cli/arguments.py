"""The words of a command line: Hydra's flags, which may stand anywhere, and the settings."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.utils import get_args_parser as hydras_parser  # the one list of Hydra's flags

from gesture.config.refusals import ConfigError


@dataclass(frozen=True)
class Arguments:
    """What was typed after the command's name."""

    flags: Namespace
    words: list[str]
    """Settings, as typed."""

    @property
    def is_multirun(self) -> bool:
        return bool(self.flags.multirun) or "hydra.mode=MULTIRUN" in self.words

    @property
    def asks_hydra(self) -> bool:
        """Whether Hydra itself answers: it shows a configuration, its own help, or completes words."""
        flags = self.flags
        return bool(flags.cfg or flags.info or flags.hydra_help or flags.shell_completion)


def read_arguments(typed: Sequence[str]) -> Arguments:
    """Flags and settings of a command line.

    Raises:
        ConfigError: flags that do not exist, lack their value or do not go together.
    """
    parser = hydras_parser()
    parser.error = _refuse  # type: ignore[method-assign, assignment]
    for action in parser._actions:
        if action.dest == "version":  # Hydra's; ours is shown by `gesture --version`
            action.version = _version()  # type: ignore[attr-defined]
    flags = parser.parse_intermixed_args(list(typed))
    if flags.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun executes a pickle, which is not supported: give the settings again.")
    if flags.config_name or flags.config_path:
        raise ConfigError("--config-name and --config-path are not taken: give --config-dir=<your own group files>.")
    if flags.resolve and not flags.cfg:
        raise ConfigError("--resolve goes with --cfg job.")
    return Arguments(flags, list(flags.overrides))


def _refuse(message: str) -> None:
    raise ConfigError(f"{message} (--help shows how to call gesture {Path(sys.argv[0]).stem}).")


def _version() -> str:
    from importlib.metadata import version

    return f"gesture {version('gesture')}"
