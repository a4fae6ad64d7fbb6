"""The short table that a command ends with."""

import io

from rich.console import Console
from rich.table import Table

from gesture.run import Result

FIGURES = ("loss", "accuracy", "precision", "recall", "f1")
WIDTH = 100


def summary(result: Result) -> str:
    """The figures of the best checkpoint, and whom they tell about."""
    table = Table(title=f"best epoch {(result.best_epoch or 0) + 1} of {result.epochs}", title_justify="left")
    table.add_column("")
    table.add_column("images", justify="right")
    for name in FIGURES:
        table.add_column(name, justify="right")
    for part in ("val", "test"):
        values = [f"{result.metrics[f'{part}/{name}']:.4f}" for name in FIGURES]
        table.add_row(part, str(result.split_sizes[part]), *values)
    lines = [_text(table), result.split["note"], *_copies(result)]
    return "\n".join(lines)


def _copies(result: Result) -> list[str]:
    crossed = result.split["identical_images_that_crossed"]
    prevented = result.split["identical_images_that_would_have_crossed"]
    if crossed:
        return [
            f"{crossed} images of val and test have an identical one in training (split.keeps_copies_together=false)."
        ]
    if prevented:
        return [
            f"{prevented} images would have stood beside identical ones on another side; copies were kept together."
        ]
    return []


def _text(table: Table) -> str:
    page = io.StringIO()
    Console(file=page, width=WIDTH).print(table)
    return page.getvalue().rstrip()
