"""The report of a run, of an evaluation, of a comparison: one HTML file each, from the files of its directory alone."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gesture.report import comparison_page, evaluation_page, model_card, run_page, run_record
from gesture.runs.directory import RunDirectory, sentence_of
from gesture.runs.files import write_atomically

log = logging.getLogger(__name__)

NAME = "report.html"


def of_run(directory: Path) -> str:
    """The report of a run directory; of a run that did not end, what it left.

    Raises:
        ConfigError: it is no run directory, or damaged.
    """
    return run_page.page(run_record.read(directory))


def of_evaluation(directory: Path) -> str:
    """The report of what `gesture.evaluate` left in a directory.

    Raises:
        ConfigError: there is no evaluation.json, or it is damaged.
    """
    return evaluation_page.page(evaluation_page.read(directory))


def of_comparison(directory: Path) -> str:
    """The report of what `gesture.compare` left in a directory.

    Raises:
        ConfigError: there is no comparison.json, or it is damaged.
    """
    return comparison_page.page(comparison_page.read(directory))


def leave_of_run(directory: RunDirectory) -> None:
    """Write a run's report, and if it is done the card of its best checkpoint beside that."""
    with _of_no_consequence():
        run = run_record.read(directory.path)
        write_atomically(directory.path / NAME, run_page.page(run))
        if run.result.value("status") == "done":
            write_atomically(directory.checkpoints / model_card.NAME, model_card.text(run, directory.best_checkpoint))


def leave_of_evaluation(directory: Path) -> None:
    """Write an evaluation's report beside its record."""
    with _of_no_consequence():
        write_atomically(directory / NAME, of_evaluation(directory))


def leave_of_comparison(directory: Path) -> None:
    """Write a comparison's report beside its record."""
    with _of_no_consequence():
        write_atomically(directory / NAME, of_comparison(directory))


@contextmanager
def _of_no_consequence() -> Iterator[None]:
    """What fails inside is said and no more: the record, of which a report is a view, stands already."""
    try:
        yield
    except Exception as error:  # a full disk, a picture that nobody foresaw
        log.warning("no report: %s", sentence_of(error) or f"{type(error).__name__}: {error}")
