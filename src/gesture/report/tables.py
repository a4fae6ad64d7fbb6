"""The short table that a command ends with."""

import io
from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from gesture.data.files import counted
from gesture.runs.result import Result

METRICS = ("loss", "nll", "accuracy", "precision", "recall", "f1")
WIDTH, WIDEST = 100, 200
"""Letters of a table; one that has more to say is wider, and folds its cells beyond that."""


def summary(result: Result) -> str:
    """The metrics of the best checkpoint, and whom they tell about."""
    parts = [part for part in ("val", "test") if f"{part}/accuracy" in result.metrics]
    rows = [[part, *(_number(result.metrics[f"{part}/{name}"]) for name in METRICS)] for part in parts]
    best = "the last weights" if result.best_epoch is None else f"best epoch {result.best_epoch + 1} of {result.epochs}"
    unseen = [name for name, values in result.per_class.items() if not values["images"]]
    lines = [text_table(best, ["", *METRICS], rows), result.split["note"], *_leak(result), *_copies(result)]
    return "\n".join([*lines, f"Nobody of the test shows {', '.join(unseen)}."] if unseen else lines)


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"


def _leak(result: Result) -> list[str]:
    return [] if result.leak is None else [f"{result.leak['sentence'].capitalize()}."]


def _copies(result: Result) -> list[str]:
    crossed = result.split["identical_images_that_crossed"]
    prevented = result.split["identical_images_that_would_have_crossed"]
    if crossed:
        images = counted(crossed, "image")
        return [f"Identical to one in training: {images} of val and test (split.keeps_copies_together=false)."]
    if prevented:
        images = counted(prevented, "image")
        return [f"{images} would have had an identical one on another side; copies were kept together."]
    return []


def _text(table: Table) -> str:
    page = io.StringIO()
    console = Console(file=page, width=WIDEST)
    console.width = max(Measurement.get(console, console.options, table).maximum, WIDTH)
    console.print(table)
    return page.getvalue().rstrip()


def text_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of plain text under their heads, for a console or a log; the title, which may hold a path, is not broken."""
    table = Table()
    for place, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # a name may hold what Rich reads as markup
    return f"{title}\n{_text(table)}"
