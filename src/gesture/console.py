"""What people see: progress bars in a terminal, one line a stage in a log file; and when nobody reads any more."""

import errno
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

log = logging.getLogger(__name__)
T = TypeVar("T")


class RateColumn(ProgressColumn):
    """Items per second since the start."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed / task.elapsed:.0f}/s" if task.elapsed and task.completed else "", "cyan")


def shows_bars() -> bool:
    """A live bar needs a terminal; a log file gets lines instead."""
    return sys.stdout.isatty()


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A bar that log lines printed through the same console do not tear."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        *columns,
        console=get_console(),
        transient=True,
        refresh_per_second=4,
    )


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Pass `items` on, showing how far it is; ends with one line that says how long it took."""
    started = time.monotonic()
    if shows_bars():
        with progress_bar() as bar:
            yield from bar.track(items, total=total, description=description)
    else:
        log.info("%s: %d ...", description, total)
        yield from items
    log.info("%s: %d in %.1f s", description, total, time.monotonic() - started)


class ConsoleHandler(logging.Handler):
    """Prints log records through the console that also draws the bars, unwrapped and unstyled."""

    def emit(self, record: logging.LogRecord) -> None:
        get_console().print(self.format(record), soft_wrap=True, markup=False, highlight=False)


class LogFile(logging.FileHandler):
    """train.log; a disk that is full is told of once, in a sentence, instead of with each line's traceback."""

    told = False

    def __init__(self, filename: str, **options: Any) -> None:
        self.is_anothers = Path(filename).exists() and Path(filename).stat().st_size > 0
        super().__init__(filename, **options)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        error = sys.exc_info()[1]
        if not self.told and isinstance(error, OSError):
            self.told = True
            complain(f"{self.baseFilename} cannot be written any more: {error.strerror or error}")
        elif not isinstance(error, OSError):
            super().handleError(record)


def note(text: str) -> None:
    """Write a line into the log file alone, of what the console is told by others."""
    record = log.makeRecord(log.name, logging.INFO, __file__, 0, text, (), None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogFile):
            handler.handle(record)


def goes_on_with(path: Path) -> bool:
    """Whether the log that this process would write was there before it."""
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, LogFile)]
    return any(each.is_anothers for each in handlers if Path(each.baseFilename) == path.resolve())


def close_log(path: Path) -> None:
    """Write no more lines into a log file, which may then be removed."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename) == path.resolve():
            root.removeHandler(handler)
            handler.close()


def say(text: str) -> None:
    """Print lines that belong to the result."""
    get_console().print(text, soft_wrap=True, markup=False, highlight=False)


def complain(sentence: str) -> None:
    """Tell the person at the keyboard what is wrong."""
    print(f"gesture: {sentence}", file=sys.stderr)


def printable(text: str) -> str:
    """A text whose names of files may hold bytes that are no text."""
    return text.encode("utf-8", "backslashreplace").decode()


@contextmanager
def bare_stdout() -> Iterator[None]:
    """Inside, log lines and bars go to standard error: standard output is the result's alone."""
    console = get_console()
    console.stderr = True
    try:
        yield
    finally:
        console.stderr = False


class DurableStream:
    """A stream that goes on when its reader has gone, as `head`, a dead `tee` or a lost ssh do: into nothing.

    Whatever else ends it, a full disk most of all, is raised once.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.has_reader = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except OSError as error:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self._stream.fileno())  # also what is still buffered must go somewhere
            os.close(nothing)
            if error.errno not in (errno.EPIPE, errno.EIO):  # a pipe without reader, a terminal that has gone
                error.filename = error.filename or self._stream.name
                raise
            self.has_reader = False


@contextmanager
def surviving_closed_pipes() -> Iterator[None]:
    """Inside, a reader of our output who goes away ends nothing."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = DurableStream(sys.stdout), DurableStream(sys.stderr)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def has_reader() -> bool:
    """Whether anybody still reads what this process prints."""
    return getattr(sys.stdout, "has_reader", True)
