"""Where a command's result goes that `output` names: a file, a pipe or a device, or standard output."""

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from gesture.config.refusals import ConfigError
from gesture.console import bare_stdout, printable
from gesture.data.files import make_writable
from gesture.runs.files import ANY_NAME, write_atomically
from gesture.writing import naming

STANDARD = "-"
"""What names standard output, as other programs have it."""


@dataclass(frozen=True)
class Output:
    """A place that may be written to as far as its name tells."""

    named: str
    path: Path | None
    """The file, pipe or device; None: standard output, which then holds nothing else."""

    def check(self, inputs: Iterable[Path]) -> None:
        """Make its folder; raises ConfigError where it cannot be written to, or the file would replace an input."""
        if self.path is None:
            return
        if self._is_replaced:
            make_writable(self.path.parent, "output")
        if own := _state(self.path):
            for path in inputs:
                with suppress(OSError):
                    if os.path.samestat(own, path.stat()):
                        raise ConfigError(f"output='{self.named}' would replace what is read: give another output.")

    @property
    def _is_replaced(self) -> bool:
        return self.path is not None and (self.path.is_file() or not self.path.exists())

    def write(self, text: str) -> None:
        """Replace a file, whole or not at all; write into anything else."""
        if self.path is None:
            print(printable(text), end="", flush=True)
        elif self._is_replaced:
            write_atomically(self.path, text)
        else:
            with naming(self.path), self.path.open("w", encoding="utf-8", errors=ANY_NAME) as stream:
                stream.write(text)


@contextmanager
def judged(named: str | None) -> Iterator[Output | None]:
    """The place that `output` names, before the work for it begins; None where nothing was asked for.

    Raises:
        ConfigError: it is a folder, a disk, or a pipe or device that cannot be written to.
    """
    output = None if named is None else _judge(named)
    with bare_stdout() if output and output.path is None else nullcontext():
        yield output


def _judge(named: str) -> Output:
    path = Path(named).expanduser()
    try:
        state = _state(path)
    except OSError as error:
        raise _unfit(named, f"cannot be written to ({error.strerror})") from error
    if named == STANDARD or (state and _is_stdout(state)):  # also by its names of a device, /dev/stdout most of all
        return Output(named, None)
    if named.endswith(os.sep) or (state and stat.S_ISDIR(state.st_mode)):
        raise _unfit(named, "is a folder, no file")
    if state and not stat.S_ISREG(state.st_mode):
        if not (stat.S_ISFIFO(state.st_mode) or stat.S_ISCHR(state.st_mode)):
            raise _unfit(named, "is neither a file nor a pipe")
        if not os.access(path, os.W_OK):
            raise _unfit(named, "cannot be written to")
        return Output(named, path)
    return Output(named, Path(os.path.realpath(path)))  # where it is a link, that stays one


def _state(path: Path) -> os.stat_result | None:
    """What the system knows of a file, links followed; None where there is none."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _is_stdout(state: os.stat_result) -> bool:
    with suppress(OSError, ValueError):  # it is closed, or no file of the system's
        return os.path.samestat(state, os.fstat(sys.stdout.fileno()))
    return False


def _unfit(named: str, fault: str) -> ConfigError:
    return ConfigError(f"output='{named}' {fault}: give another output, or output=- for standard output.")
