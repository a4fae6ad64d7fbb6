"""The report of a run, of an evaluation, of a comparison: one HTML file each, from the files of its directory alone."""

from pathlib import Path

from gesture.report import model_card, run_page
from gesture.runs.directory import RunDirectory
from gesture.runs.files import write_atomically

NAME = "report.html"


def of_run(directory: Path) -> str:
    """The report of a run directory; of a run that did not end, what it left.

    Raises:
        ConfigError: it is no run directory, or damaged.
    """
    return run_page.page(run_page.read(directory))


def leave_in(directory: RunDirectory) -> None:
    """Write a finished run's report, and the card of its best checkpoint beside that."""
    run = run_page.read(directory.path)
    write_atomically(directory.path / NAME, run_page.page(run))
    write_atomically(directory.checkpoints / model_card.NAME, model_card.text(run, directory.best_checkpoint))
