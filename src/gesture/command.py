"""What every command does around its work: compose, check, refuse in one line, end with the right exit code."""

import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from gesture.config import ConfigError, TrainConfig, config_dir, parse
from gesture.process import Interrupted, is_first_process, raised_at_once
from gesture.refusals import explain, explain_hydra

REFUSED, FAILED = 2, 1


class RunFailed(Exception):
    """A run failed and its traceback is already in the log."""


def entry_point(name: str) -> Callable[[Callable[[Any], Any]], Callable[[], None]]:
    """Turn a function of one checked configuration into the command that `configs/<name>.yaml` describes.

    The configuration's schema is the annotation of the function's `config`.
    """

    def decorate(main: Callable[[Any], Any]) -> Callable[[], None]:
        schema = get_type_hints(main)["config"]

        def command() -> None:
            try:
                with raised_at_once():
                    _run_under_hydra(name, schema, main)
            except (ConfigError, OmegaConfBaseException) as error:
                _refuse(str(error) if isinstance(error, ConfigError) else explain(error, schema))
            except RunFailed:
                sys.exit(FAILED)
            except BrokenPipeError:  # whoever read our output, `head` for instance, has seen enough
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(FAILED)
            except OSError as error:  # a place that cannot be written to, a full disk
                print(f"gesture: {error}", file=sys.stderr)
                sys.exit(FAILED)
            except Interrupted as interruption:
                print(interruption, file=sys.stderr)
                sys.exit(interruption.exit_code)

        return command

    return decorate


def _refuse(sentence: str) -> None:
    print(f"gesture: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(REFUSED)


def _run_under_hydra(name: str, schema: type, main: Callable[[Any], Any]) -> None:
    import hydra
    from hydra._internal.utils import get_args
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException

    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach `command` instead of being printed by Hydra
    store = ConfigStore.instance()
    store.store(f"{name}_schema", schema)
    # For every group that --help lists, Hydra copies its sources; the store they share need not be copied with them.
    store.__deepcopy__ = lambda memo: store  # type: ignore[attr-defined]
    if not is_first_process():  # the first process keeps the run directory and the log
        sys.argv += ["hydra/job_logging=disabled", f"hydra.run.dir={tempfile.gettempdir()}"]

    ends: list[ConfigError | RunFailed] = []

    def task(composed: DictConfig) -> Any:
        try:
            return main(parse(composed, schema))
        except ConfigError as error:  # kept, since Hydra would print a line of its own about what is raised
            _remove_empty_run_dir()
            ends.append(error)
        except RunFailed as error:
            ends.append(error)
            if get_args().multirun:  # sweepers want to know
                raise

    try:
        if get_args().multirun:
            sys.argv += _prepare_sweep(name, schema, get_args())
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=name)(task)()
    except HydraException as error:
        raise ConfigError(explain_hydra(error, schema)) from error
    if ends:
        raise ends[0]


def _remove_empty_run_dir() -> None:
    """Hydra makes the run directory before anything is checked; a refusal leaves none behind."""
    from hydra.core.hydra_config import HydraConfig

    run_dir, here = Path(HydraConfig.get().runtime.output_dir), Path.cwd()
    with suppress(OSError):  # not empty: it is not ours to remove
        for folder in (run_dir, *run_dir.parents):
            if folder == here or (folder != run_dir and here not in folder.parents):
                break
            folder.rmdir()


def _prepare_sweep(name: str, schema: type, args: Namespace) -> list[str]:
    """Check a sweep; the words that name its runs' directories after what differs between them."""
    _check_sweep(name, schema, args)
    return [f"hydra.job.config.override_dirname.exclude_keys=[{','.join(_fixed_keys(args.overrides))}]"]


def _check_sweep(name: str, schema: type, args: Namespace) -> None:
    """Check every value of a sweep before its first run starts, each beside the first value of the others."""
    from hydra import compose, initialize_config_dir

    searched = [f"hydra.searchpath=[file://{Path(args.config_dir).resolve()}]"] if args.config_dir else []
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir()), job_name=name):
        for trial in _trials(args.overrides):
            config: Any = parse(compose(name, [*trial, *searched]), schema)
            if isinstance(config, TrainConfig) and config.trainer.devices != "1" and "LOCAL_RANK" not in os.environ:
                # Lightning would start its other processes with this command line, and each would sweep by itself.
                raise ConfigError(
                    "a sweep over several devices must be started by torchrun, or give trainer.devices=1."
                )


def _trials(overrides: Sequence[str]) -> list[list[str]]:
    """The first values of all swept settings, then each further value in its place."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    lines = [
        [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
        if override.is_sweep_override()
        else [str(override.input_line)]
        for override in OverridesParser.create().parse_overrides(list(overrides))
        if not override.is_hydra_override()
    ]
    first = [values[0] for values in lines]
    return [first] + [[*first[:i], value, *first[i + 1 :]] for i, values in enumerate(lines) for value in values[1:]]


def _fixed_keys(overrides: Sequence[str]) -> list[str]:
    """The settings that are the same in all runs of a sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(list(overrides))
    swept = {override.key_or_group for override in parsed if override.is_sweep_override()}
    return [override.key_or_group for override in parsed if override.key_or_group not in swept]
