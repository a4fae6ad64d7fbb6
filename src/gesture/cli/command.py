"""What every command does around its work: read its words, check, run, and end with the right exit code."""

import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser

from gesture import console
from gesture.cli import help as command_help
from gesture.cli.arguments import read_arguments
from gesture.cli.going_on import words_of_run
from gesture.cli.job import CROSSED, DONE, FAILED, REFUSED, Job, Main, made
from gesture.config.compose import SCHEMAS, initialized, parse, read_words, settings_of
from gesture.config.refusals import ConfigError, Crossed, RunFailed
from gesture.config.schema import TrainConfig
from gesture.config.words import key_of, with_places
from gesture.process import Interrupted, is_first_process, raised_at_once
from gesture.runs.directory import sentence_of

TAKES_PLACES = {"compare": "runs", "evaluate": "runs"}
"""The commands that take words which are no settings, and the setting that these are given to."""
ADDED_BY_LIGHTNING = ("hydra.run.dir=", "hydra.job.name=", "hydra.output_subdir=")


def entry_point(name: str) -> Callable[[Main], Callable[[], None]]:
    """Turn a function of one checked configuration into the command that `configs/<name>.yaml` describes."""

    def decorate(main: Main) -> Callable[[], None]:
        def command() -> None:
            code = run(name, main, sys.argv[1:])
            if code != DONE:
                sys.exit(code)

        return command

    return decorate


def run(name: str, main: Main, typed: list[str]) -> int:
    """Run a command with these words and return its exit code."""
    os.environ.pop("MPLBACKEND", None)  # of a notebook, which this environment may lack; figures are drawn without one
    with console.surviving_closed_pipes():
        try:
            with raised_at_once():
                code = _run(name, main, typed)
                sys.stdout.flush()  # a full disk there is told as any other
                return code
        except ConfigError as error:
            console.complain(" ".join(str(error).split()))
            return REFUSED
        except Crossed as crossed:
            console.complain(str(crossed))
            return CROSSED
        except RunFailed:
            return FAILED
        except OSError as error:  # a place that cannot be written to, a full disk
            console.complain(sentence_of(error) or str(error))
            return FAILED
        except Interrupted as interruption:
            print(interruption, file=sys.stderr)
            return interruption.exit_code


def _run(name: str, main: Main, typed: list[str]) -> int:
    arguments = read_arguments(typed)
    flags = arguments.flags
    schema = SCHEMAS[name]
    if arguments.is_multirun and schema is not TrainConfig:
        raise ConfigError(f"{name} takes no -m: call it once for each run.")
    typed_once = _typed_once(arguments.words)
    given = with_places(typed_once, TAKES_PLACES[name]) if name in TAKES_PLACES else typed_once
    words = read_words(given, schema, arguments.is_multirun)
    if flags.help:
        print(command_help.page(name, main.__globals__["__doc__"] or "", words, flags.config_dir))
        return DONE
    with initialized(name, flags.config_dir) as hydra:
        if arguments.asks_hydra:
            _let_hydra_answer(hydra, name, flags, words)
        elif arguments.is_multirun:
            from gesture.cli import sweeps  # a single run needs none of it

            return sweeps.run(hydra, name, [*words, *_words_of_other_processes()], Job(main, schema))
        else:
            _run_once(hydra, name, [*words, *_words_of_other_processes()], Job(main, schema))
    return DONE


def run_once(name: str, main: Main, typed: list[str]) -> Any:
    """What `main` returns for a command's words, called from Python in a run directory of its own.

    Raises:
        ConfigError: refused before the start.
        KeyboardInterrupt: Ctrl-C.
    """
    schema = SCHEMAS[name]
    try:
        with initialized(name) as hydra:
            return _run_once(hydra, name, read_words(typed, schema), Job(main, schema))
    except Interrupted as interruption:
        raise KeyboardInterrupt(str(interruption)) from interruption


def _typed_once(words: list[str]) -> list[str]:
    """The words but for those that Lightning adds to the first process's when it starts the others."""
    return words if is_first_process() else [word for word in words if not word.startswith(ADDED_BY_LIGHTNING)]


def _words_of_other_processes() -> list[str]:
    """The first process of a distributed run keeps the directory and the log; the others have them elsewhere."""
    if is_first_process():
        return []
    elsewhere = f"'{tempfile.gettempdir()}'"
    return ["hydra/job_logging=disabled", f"hydra.run.dir={elsewhere}", f"hydra.sweep.dir={elsewhere}"]


def _run_once(hydra: Any, name: str, words: list[str], job: Job) -> Any:
    """Compose, check, and run in the directory that `hydra.run.dir` names; what the job returns."""
    from hydra._internal.callbacks import Callbacks
    from hydra.core.utils import JobStatus, run_job
    from hydra.types import HydraContext, RunMode

    if job.schema is TrainConfig:
        words = words_of_run(hydra, words)
    composed = hydra.compose_config(name, words, run_mode=RunMode.RUN, with_log_configuration=True)
    config: Any = parse(settings_of(composed), job.schema)  # refused before a directory is made
    if isinstance(config, TrainConfig):
        _check_single(config, composed, words)
    run_dir = made(str(composed.hydra.run.dir), "hydra.run.dir")
    callbacks = Callbacks(composed)
    callbacks.on_run_start(config=composed, config_name=name)
    ended = run_job(
        task_function=job,
        config=composed,
        job_dir_key="hydra.run.dir",
        job_subdir_key=None,
        hydra_context=HydraContext(config_loader=hydra.config_loader, callbacks=callbacks),
    )
    callbacks.on_run_end(config=composed, config_name=name, job_return=ended)
    if ended.status == JobStatus.COMPLETED:
        return ended.return_value
    error = ended._return_value  # asking Hydra for it would print a line of its own
    if isinstance(error, ConfigError):
        _remove_if_empty(run_dir.absolute())
    raise error


def _check_single(config: TrainConfig, composed: Any, words: list[str]) -> None:
    """See that nothing is asked for that only a sweep has, but for settings of which one value is given.

    Raises:
        ConfigError: it is.
    """
    assert config.launcher is not None
    if config.launcher.name != "local":
        raise ConfigError(f"launcher={config.launcher.name} is for the trials of a sweep: add -m, or leave it out.")
    if given := next((word for word in words if key_of(word).partition(".")[0] == "sweep"), None):
        raise ConfigError(f"{given} is for many trainings: add -m, or leave it out.")
    swept = [str(key) for key in composed.hydra.sweeper.get("params") or {}]
    if left := [key for key in swept if key not in {key_of(word) for word in words}]:
        raise ConfigError(f"what was chosen tries several values of {left[0]}: add -m, or give {left[0]}=<one>.")


def _remove_if_empty(run_dir: Path) -> None:
    """A refused run leaves nothing behind; the folder one stands in stays."""
    here = Path.cwd()
    with suppress(OSError):  # not empty: it is not ours to remove
        for folder in (run_dir, *run_dir.parents):
            if folder == here or (folder != run_dir and here not in folder.parents):
                break
            folder.rmdir()


def _let_hydra_answer(hydra: Any, name: str, flags: Namespace, words: list[str]) -> None:
    """Show a configuration or how it comes about, Hydra's own help, or what completes a word."""
    if flags.cfg:
        hydra.show_cfg(name, words, cfg_type=flags.cfg, package=flags.package, resolve=flags.resolve)
    elif flags.info:
        hydra.show_info(flags.info, config_name=name, overrides=words)
    elif flags.hydra_help:
        hydra.hydra_help(config_name=name, args_parser=get_args_parser(), args=flags)
    else:
        hydra.shell_completion(config_name=name, overrides=words)
