"""What people see while they wait: progress bars in a terminal, one line a stage in a log file."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

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
