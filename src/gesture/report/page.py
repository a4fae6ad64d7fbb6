"""The report of a run, of an evaluation, of a comparison: one HTML file each, from the files of its directory alone."""

from pathlib import Path

from gesture.report import comparison_page, evaluation_page, model_card, run_page, run_record
from gesture.runs.directory import RunDirectory
from gesture.runs.files import write_atomically

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


def leave_in(directory: RunDirectory) -> None:
    """Write a finished run's report, and the card of its best checkpoint beside that."""
    run = run_record.read(directory.path)
    write_atomically(directory.path / NAME, run_page.page(run))
    write_atomically(directory.checkpoints / model_card.NAME, model_card.text(run, directory.best_checkpoint))
