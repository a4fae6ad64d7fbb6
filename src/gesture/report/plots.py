"""Pictures of the data and of what a run found. Each function draws one; a `Publisher` keeps it."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from unicodedata import east_asian_width

import numpy as np
from matplotlib import get_data_path
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gesture.data.prepare import Data
from gesture.process import is_first_process
from gesture.runs.result import Result

GRID_COLUMNS = 6
GRID_ROWS = 10
BATCH_ROWS = 4
CELL, GAP, TITLE = 170, 4, 20
"""Pixels of a grid: the width of an image, between two of them, and above each one for its title."""
TALLEST = 2 * CELL
PAIR, PAIR_COLUMNS = 300, 4
"""Pixels of an image's width beside another, and images in a row of pairs."""
FONT, FONT_SIZE = "/fonts/ttf/DejaVuSans.ttf", 12
"""Matplotlib's own, and its height in pixels."""
DOTS_PER_INCH = 110
COMPRESSION = 1
"""Of PNG: five times as fast as usual, and a little larger."""
LONGEST_NAME, LONGEST_TITLE = 32, 26
LETTER = 0.09
"""Inches that a letter takes."""
NUMBERS_UP_TO = 24
"""A confusion matrix of more classes shows colours without numbers."""
LABELLED_BARS = 60
BAR, AROUND_BARS = 0.28, 0.75
"""Inches that a bar takes, and title and labels above and below them all."""
DARK = 0.5
"""Shares above this have colours on which black cannot be read."""


Drawn = Figure | Image.Image


class TakesPictures(Protocol):
    """A logger that keeps pictures, [H, W, 3]."""

    def show(self, name: str, pixels: NDArray[np.uint8]) -> None: ...


@dataclass(frozen=True)
class Publisher:
    """Keeps pictures as <folder>/<name>.png and in each logger; only the first process draws."""

    folder: Path
    loggers: Sequence[TakesPictures]

    def publish(self, name: str, draw: Callable[[], Drawn]) -> None:
        """Draw a picture and keep it."""
        if not is_first_process():
            return
        pixels = rasterised(draw())
        Image.fromarray(pixels).save(self.folder / f"{name}.png", compress_level=COMPRESSION)
        for logger in self.loggers:
            logger.show(name, pixels)

    def publish_all(self, figures: Mapping[str, Callable[[], Drawn]]) -> None:
        """Draw and keep each picture under its name."""
        for name, draw in figures.items():
            self.publish(name, draw)


def rasterised(drawn: Drawn) -> NDArray[np.uint8]:
    """Its pixels, [H, W, 3]. Letters that the font lacks, Chinese ones for instance, are boxes."""
    if isinstance(drawn, Image.Image):
        return np.asarray(drawn.convert("RGB"))
    drawn.set_dpi(DOTS_PER_INCH)
    canvas: Any = FigureCanvasAgg(drawn)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def of_result(result: Result, rows: Sequence[Mapping[str, float]]) -> dict[str, Callable[[], Figure]]:
    """What shows a finished run: its curves from the epochs' rows, its test from the record."""
    drawn = {
        "curves": lambda: curves(rows, result.best_epoch),
        "confusion_matrix": lambda: confusion(result.confusion_matrix, result.class_names),
        "per_class": lambda: bars({name: of["f1"] for name, of in result.per_class.items()}, "Test by gesture", "F1"),
    }
    if result.per_subject:
        people = {name: values["accuracy"] for name, values in result.per_subject.items()}
        drawn["per_subject"] = lambda: bars(people, "Test by person", "accuracy")
    return drawn


def sample_grid(data: Data) -> Image.Image:
    """A row for each gesture, with images of different people where there are some."""
    samples = data.samples
    shown: list[int] = []
    for gesture in range(min(GRID_ROWS, len(samples.class_names))):
        rows = np.flatnonzero(samples.gestures == gesture)
        shown += _spread(rows, GRID_COLUMNS).tolist()
    people = [samples.subject_names[i] if samples.knows_subjects else "" for i in samples.subjects[shown]]
    gestures = [samples.class_names[i] for i in samples.gestures[shown]]
    return _mosaic(data.images[shown], [f"{g}  {p}" for g, p in zip(gestures, people, strict=True)])


def batch_grid(batch: Any, data: Data) -> Image.Image:
    """The first images of a training batch as the network sees them: [B, 1, H, W], uint8 or float in [0, 1]."""
    count = GRID_COLUMNS * BATCH_ROWS
    images = batch.images[:count, 0].cpu().numpy()
    pixels = images if images.dtype == np.uint8 else (images * 255).round()
    return _mosaic(pixels, [data.samples.class_names[target] for target in batch.targets[:count].tolist()])


def pairs(images: NDArray[np.uint8], titles: Sequence[str]) -> Image.Image:
    """Pairs of images [2 P, H, W], each one beside the other."""
    return _mosaic(images, titles, PAIR_COLUMNS, PAIR)


def confusion(matrix: Sequence[Sequence[int]], class_names: Sequence[str]) -> Figure:
    """Counts, coloured by the share of each true gesture's images."""
    counts = np.array(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shown = [short(name) + (" (not shown)" if not counts[row].sum() else "") for row, name in enumerate(class_names)]
    size, names = 1 + 0.5 * min(len(class_names), 40), LETTER * max(map(_length, shown))
    figure = Figure(figsize=(size + names + 1, size + 0.7 * names), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axis, label="share of the true gesture's images", shrink=0.8)
    axis.set(xlabel="predicted gesture", ylabel="true gesture", title="Confusion matrix of the test")
    named = [short(name) for name in class_names]
    axis.set_xticks(range(len(named)), named, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axis.set_yticks(range(len(shown)), shown, parse_math=False)
    if len(class_names) <= NUMBERS_UP_TO:
        for true, predicted in np.argwhere(counts > 0):
            colour = "white" if shares[true, predicted] > DARK else "black"
            axis.text(predicted, true, counts[true, predicted], ha="center", va="center", color=colour, fontsize=8)
    return figure


def curves(rows: Sequence[Mapping[str, float]], best_epoch: int | None) -> Figure:
    """Loss and accuracy of each epoch, for training and validation, which may come less often."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axis, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part in ("train", "val"):
            points = [(row["epoch"] + 1, row[f"{part}/{name}"]) for row in rows if f"{part}/{name}" in row]
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=part)
        if best_epoch is not None:
            axis.axvline(best_epoch + 1, color="gray", linestyle=":", label="best epoch")
        axis.set(xlabel="epoch", title=name, xlim=(0.5, len(rows) + 0.5))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
        axis.legend()
    return figure


def history(scores: Sequence[float | None], label: str, rising: bool) -> Figure:
    """A point for each trial of a search that has a score, as they began, and a line along the best so far."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axis = figure.subplots()
    scored = [(trial, score) for trial, score in enumerate(scores) if score is not None]
    trials, values = [trial for trial, _ in scored], np.array([score for _, score in scored])
    best = (np.maximum if rising else np.minimum).accumulate(values)
    axis.step(trials, best, where="post", color="tab:orange", label="best so far")
    axis.plot(trials, values, "o", color="tab:blue", markersize=4, label="trial")
    if missing := [trial for trial, score in enumerate(scores) if score is None]:
        axis.plot(missing, np.full(len(missing), values.min()), "x", color="tab:gray", label="dropped or failed")
    axis.set(xlabel="trial", ylabel=label, title="Search")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend()
    return figure


def bars(values: Mapping[str, float | None], title: str, label: str, mean: bool = True) -> Figure:
    """One horizontal bar for each name, their mean as a line; what was not measured is said to be not shown."""
    figure = Figure(figsize=(7, AROUND_BARS + BAR * min(len(values), LABELLED_BARS)), layout="constrained")
    axis = figure.subplots()
    axis.barh(range(len(values)), [value or 0 for value in values.values()], color="#4c78a8")
    if len(values) <= LABELLED_BARS:
        axis.set_yticks(range(len(values)), [short(name) for name in values], parse_math=False)
        for place, value in enumerate(values.values()):
            _label(axis, place, value)
    else:
        axis.set(ylabel=f"{len(values)} in the order of their names")
    measured = [value for value in values.values() if value is not None]
    if measured and mean:
        middle = float(np.mean(measured))
        axis.axvline(middle, color="black", linestyle=":", label=f"mean {middle:.3f}")
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, frameon=False)
    axis.set(xlim=(0, 1), ylim=(len(values) - 0.4, -0.6), xlabel=label, title=title)
    return figure


def _label(axis: Any, place: int, value: float | None) -> None:
    """The bar's number beside it, or in it where there is no room beside."""
    if value is None:
        axis.text(0.01, place, "not shown", va="center", fontsize=8, color="gray")
    elif value > 0.9:
        axis.text(value - 0.01, place, f"{value:.3f}", va="center", ha="right", fontsize=8, color="white")
    else:
        over_the_line = {"facecolor": "white", "edgecolor": "none", "pad": 0}
        axis.text(value + 0.01, place, f"{value:.3f}", va="center", fontsize=8, bbox=over_the_line)


def _spread(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` of the rows, evenly spread; the table is ordered by people, so these are different ones."""
    return rows[np.linspace(0, len(rows) - 1, count).astype(int)] if len(rows) else rows


def short(name: str, most: int = LONGEST_NAME) -> str:
    """A name in one line, its middle left out if it is wider than `most` letters."""
    name = " ".join(name.split())
    if _length(name) <= most:
        return name
    half = (most - 1) * len(name) // (2 * _length(name))
    return f"{name[:half]}…{name[-half:]}"


def _length(name: str) -> int:
    """How many letters wide a name is; Chinese ones, for instance, take the room of two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in name)


def _mosaic(images: NDArray[Any], titles: Sequence[str], columns: int = GRID_COLUMNS, cell: int = CELL) -> Image.Image:
    """Images [K, H, W] of values 0 to 255 in rows, each under its title.

    They are put together by Pillow: so many axes or so large an image would take Matplotlib seconds.
    """
    height, width = images.shape[1:]
    scale = min(cell / width, TALLEST / height)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    below = size[1] + TITLE
    page = Image.new("L", (columns * (cell + GAP), -(-len(images) // columns) * below), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.truetype(get_data_path() + FONT, FONT_SIZE)
    resampling = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    for place, (image, title) in enumerate(zip(images, titles, strict=True)):
        row, column = divmod(place, columns)
        left, top = column * (cell + GAP) + GAP // 2, row * below + TITLE
        resized = Image.fromarray(image.astype(np.uint8)).resize(size, resampling)
        page.paste(resized, (left + (cell - size[0]) // 2, top))
        pen.text(
            (left + cell / 2, top - TITLE / 4), short(title, LONGEST_TITLE * cell // CELL), "black", font, anchor="ms"
        )
    return page
