"""Pictures of the data and of what a run found. Each function makes one figure; `publish` keeps it."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from gesture.data.prepare import Data

GRID_COLUMNS = 6
GRID_ROWS = 10
BATCH_ROWS = 4
FIGURE_WIDTH = 12.6
DOTS_PER_INCH = 110
NUMBERS_UP_TO = 24
"""A confusion matrix of more classes shows colours without numbers."""
LABELLED_BARS = 60


def publish(figure: Figure, name: str, folder: Path, logger: TensorBoardLogger) -> None:
    """Keep a figure as <folder>/<name>.png and as an image in TensorBoard."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH)
    (folder / f"{name}.png").write_bytes(content.getvalue())
    pixels = np.asarray(Image.open(content).convert("RGB"))
    logger.experiment.add_image(name, pixels, dataformats="HWC")


def sample_grid(data: Data) -> Figure:
    """A row for each gesture, with images of different people where there are some."""
    samples = data.samples
    shown: list[int] = []
    for gesture in range(min(GRID_ROWS, len(samples.class_names))):
        rows = np.flatnonzero(samples.gestures == gesture)
        shown += _spread(rows, GRID_COLUMNS).tolist()
    people = [samples.subject_names[i] if samples.knows_subjects else "" for i in samples.subjects[shown]]
    gestures = [samples.class_names[i] for i in samples.gestures[shown]]
    return _mosaic(data.images[shown], [f"{g}  {p}" for g, p in zip(gestures, people, strict=True)])


def batch_grid(images: NDArray[Any], targets: Sequence[int], class_names: Sequence[str]) -> Figure:
    """The first images of a batch [B, 1, H, W] as the network sees them: uint8, or float in [0, 1]."""
    count = GRID_COLUMNS * BATCH_ROWS
    pixels = images[:count, 0] if images.dtype == np.uint8 else (images[:count, 0] * 255).round()
    return _mosaic(pixels, [class_names[target] for target in targets[:count]])


def confusion(matrix: Sequence[Sequence[int]], class_names: Sequence[str]) -> Figure:
    """Counts, coloured by the share of each true gesture's images."""
    counts = np.array(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.2 + 0.5 * min(len(class_names), 40)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axis, label="share of the true gesture's images", shrink=0.8)
    axis.set(xlabel="predicted gesture", ylabel="true gesture", title="Confusion matrix of the test")
    axis.set_xticks(range(len(class_names)), class_names, rotation=45, ha="right")
    axis.set_yticks(range(len(class_names)), class_names)
    if len(class_names) <= NUMBERS_UP_TO:
        for true, predicted in np.argwhere(counts > 0):
            colour = "white" if shares[true, predicted] > 0.5 else "black"
            axis.text(predicted, true, counts[true, predicted], ha="center", va="center", color=colour, fontsize=8)
    return figure


def curves(rows: Sequence[Mapping[str, float]], best_epoch: int) -> Figure:
    """Loss and accuracy of each epoch, for training and validation."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    epochs = [row["epoch"] + 1 for row in rows]
    for axis, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part in ("train", "val"):
            axis.plot(epochs, [row[f"{part}/{name}"] for row in rows], marker="o", markersize=3, label=part)
        axis.axvline(best_epoch + 1, color="gray", linestyle=":", label="best epoch")
        axis.set(xlabel="epoch", title=name)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend()
    return figure


def bars(values: Mapping[str, float], title: str, label: str) -> Figure:
    """One horizontal bar for each name, the mean as a line."""
    figure = Figure(figsize=(7, 1.2 + 0.26 * min(len(values), LABELLED_BARS)), layout="constrained")
    axis = figure.subplots()
    axis.barh(range(len(values)), list(values.values()), color="#4c78a8")
    if len(values) <= LABELLED_BARS:
        axis.set_yticks(range(len(values)), list(values))
        for place, value in enumerate(values.values()):
            axis.text(min(value, 0.93) + 0.005, place, f"{value:.3f}", va="center", fontsize=8)
    axis.axvline(float(np.mean(list(values.values()))), color="gray", linestyle=":")
    axis.set(xlim=(0, 1), xlabel=label, title=title)
    axis.invert_yaxis()
    return figure


def _spread(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` of the rows, evenly spread; the table is ordered by people, so these are different ones."""
    return rows[np.linspace(0, len(rows) - 1, count).astype(int)] if len(rows) else rows


def _mosaic(images: NDArray[Any], titles: Sequence[str]) -> Figure:
    """Images [K, H, W] of values 0 to 255 in rows, each under its title. One axis for all: many would take seconds."""
    height, width = images.shape[1:]
    strip = max(4, round(0.14 * width))  # above each image, for its title
    rows = -(-len(images) // GRID_COLUMNS)
    canvas = np.full((rows * (height + strip), GRID_COLUMNS * (width + 2)), 255, dtype=np.uint8)
    figure = Figure(figsize=(FIGURE_WIDTH, FIGURE_WIDTH * canvas.shape[0] / canvas.shape[1]))
    axis = figure.add_axes((0, 0, 1, 1))
    for place, (image, title) in enumerate(zip(images, titles, strict=True)):
        top, left = (place // GRID_COLUMNS) * (height + strip) + strip, (place % GRID_COLUMNS) * (width + 2)
        canvas[top : top + height, left : left + width] = image
        axis.text(left + width / 2, top - strip / 4, title, fontsize=8, ha="center")
    axis.imshow(canvas, cmap="gray", vmin=0, vmax=255)
    axis.axis("off")
    return figure
