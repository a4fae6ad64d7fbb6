"""Pictures of the data and of what a run found. Each function makes one figure; `publish` keeps it."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from PIL import Image

from gesture.data.prepare import Data

GRID_COLUMNS = 6
GRID_ROWS = 10
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
    classes = samples.class_names[:GRID_ROWS]
    figure = Figure(figsize=(2.1 * GRID_COLUMNS, 1.35 * len(classes)), layout="constrained")
    axes = figure.subplots(len(classes), GRID_COLUMNS, squeeze=False)
    for gesture, row in enumerate(axes):
        shown = _spread(np.flatnonzero(samples.gestures == gesture), len(row))
        for axis, sample in zip(row, shown, strict=False):
            person = samples.subject_names[samples.subjects[sample]] if samples.knows_subjects else ""
            _show(axis, data.images[sample], f"{classes[gesture]}  {person}")
    return _without_axes(figure)


def batch_grid(images: Any, targets: Sequence[int], class_names: Sequence[str]) -> Figure:
    """Images [B, 1, H, W] as the network sees them: uint8, or float in [0, 1]."""
    columns = min(GRID_COLUMNS, len(images))
    rows = -(-min(len(images), GRID_COLUMNS * 4) // columns)
    figure = Figure(figsize=(2.1 * columns, 1.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for axis, image, target in zip(axes, images, targets, strict=False):
        _show(axis, image[0], class_names[target], 1.0 if image.dtype.kind == "f" else 255)
    return _without_axes(figure)


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


def _spread(rows: Any, count: int) -> Any:
    """`count` of the rows, evenly spread; the table is ordered by people, so these are different ones."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)] if len(rows) else rows


def _show(axis: Any, pixels: Any, title: str, white: float = 255) -> None:
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=white)
    axis.set_title(title, fontsize=8)


def _without_axes(figure: Figure) -> Figure:
    for axis in figure.axes:
        axis.axis("off")
    return figure
