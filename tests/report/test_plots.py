"""Plots that stand whatever they show."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from gesture.data.dealing import Split
from gesture.data.files import Folder
from gesture.data.prepare import Data
from gesture.data.samples import Row, table
from gesture.report import plots
from gesture.training.datamodule import Batch

NOBODY = np.array([], dtype=np.int64)
NO_SPLIT = Split(NOBODY, NOBODY, NOBODY, NOBODY)
EPOCH = {"epoch": 0, "train/loss": 2.0, "train/accuracy": 0.2, "val/loss": 1.9, "val/accuracy": 0.3}


def drawn(figure: Figure | Image.Image, tmp_path: Path) -> Image.Image:
    shown: list[NDArray[np.uint8]] = []

    class Logger:
        def show(self, name: str, pixels: NDArray[np.uint8]) -> None:
            shown.append(pixels)

    plots.Publisher(tmp_path, [Logger()]).publish("plot", lambda: figure)
    kept = Image.open(tmp_path / "plot.png")
    assert np.array_equal(np.asarray(kept), shown[0])
    return kept


@pytest.mark.parametrize("epochs", [1, 2, 3, 40])
@pytest.mark.parametrize("all_validated", [True, False])
def test_curves_have_whole_epochs_and_stand_without_validation(
    epochs: int, all_validated: bool, tmp_path: Path
) -> None:
    rows: list[Mapping[str, float]] = [{**EPOCH, "epoch": epoch} for epoch in range(epochs)]
    if not all_validated:
        rows.append({"epoch": epochs, "train/loss": 1.0, "train/accuracy": 0.5})
    figure = plots.curves(rows, best_epoch=0)
    drawn(figure, tmp_path)
    for axis in figure.axes:
        low, high = axis.get_xlim()
        shown = [float(tick) for tick in axis.get_xticks() if low <= tick <= high]
        assert shown
        assert all(tick.is_integer() for tick in shown)


@pytest.mark.parametrize("count", [1, 3, 44, 217])
def test_bars_stand_for_one_person_and_for_many(count: int, tmp_path: Path) -> None:
    figure = plots.bars({f"s{i:03}": i / count for i in range(count)}, "Test by person", "accuracy")
    drawn(figure, tmp_path)
    bars: Any = figure.axes[0].patches
    low, high = sorted(figure.axes[0].get_ylim())
    assert (low, high) == (-0.6, count - 0.4)  # no empty room above and below them
    inches = figure.axes[0].get_position().height * figure.get_figheight()
    assert 0.04 < bars[0].get_height() * inches / (high - low) < 0.3  # neither a thread nor as fat as four


def test_the_mean_of_bars_is_labelled(tmp_path: Path) -> None:
    figure = plots.bars({"fist": 0.5, "palm": 1.0}, "Test by gesture", "F1")
    drawn(figure, tmp_path)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["mean 0.750"]


def test_numbers_on_bars_are_white_and_those_beside_them_black(tmp_path: Path) -> None:
    figure = plots.bars({"fist": 0.5, "palm": 1.0, "ok": 0.91}, "Test by gesture", "F1")
    drawn(figure, tmp_path)
    bars: Any = figure.axes[0].patches
    for bar, text in zip(bars, figure.axes[0].texts, strict=True):
        stands_on_its_bar = text.get_window_extent().x1 < bar.get_window_extent().x1
        assert text.get_color() == ("white" if stands_on_its_bar else "black"), text.get_text()
        assert stands_on_its_bar or text.get_window_extent().x0 > bar.get_window_extent().x1
        assert text.get_window_extent().x1 < figure.axes[0].get_window_extent().x1
    assert [text.get_color() for text in figure.axes[0].texts] == ["black", "white", "white"]


def test_what_was_not_measured_has_no_bar_and_drags_no_mean(tmp_path: Path) -> None:
    figure = plots.bars({"fist": 0.8, "palm": None}, "Test by gesture", "F1")
    drawn(figure, tmp_path)
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.800", "not shown"]
    assert figure.axes[0].lines[0].get_xdata()[0] == pytest.approx(0.8)  # type: ignore[index]


@pytest.mark.parametrize("classes", [2, 36])
def test_names_are_names_and_not_formulas(classes: int, tmp_path: Path) -> None:
    names = ["$_$", "拳头", *(f"g{i}" for i in range(classes - 2))]
    counts = np.eye(classes, dtype=int) * 7
    counts[1] = 0
    drawn(plots.confusion(counts.tolist(), names), tmp_path)
    drawn(plots.bars(dict.fromkeys(names, 0.5), "Test by gesture", "F1"), tmp_path)


def test_numbers_on_dark_squares_are_white(tmp_path: Path) -> None:
    figure = plots.confusion([[9, 1], [0, 5]], ["fist", "palm"])
    drawn(figure, tmp_path)
    colours = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert colours == {"9": "white", "1": "black", "5": "white"}


@pytest.mark.parametrize(
    "name", ["a gesture that somebody described in a whole sentence " * 3, "手" * 60, "two\nlines"]
)
def test_long_names_leave_room_for_what_they_name(name: str, tmp_path: Path) -> None:
    for figure in (
        plots.bars({name: 0.5, "b": 1.0}, "Test by gesture", "F1"),
        plots.confusion([[9, 1], [0, 5]], [name, "b"]),
    ):
        drawn(figure, tmp_path)
        assert figure.axes[0].get_position().width > 0.2


@pytest.mark.parametrize("size", [(32, 80), (224, 224), (500, 40)])
def test_a_grid_shows_each_image_under_its_title(size: tuple[int, int], tmp_path: Path) -> None:
    rows = [Row(f"{gesture}/{i}.png", "ann", gesture, i) for gesture in ("fist", "$^$ 拳头") for i in range(7)]
    samples = table("test", Folder(Path()), rows)
    gray = np.where(samples.gestures == 0, 60, 190).astype(np.uint8)
    images = np.broadcast_to(gray[:, None, None], (len(rows), *size)).copy()
    data = Data(samples, images, np.arange(len(rows)), NO_SPLIT, {}, "fingerprint")
    grid = drawn(plots.sample_grid(data), tmp_path).convert("L")
    first, last = (grid.getpixel((grid.width // 12, grid.height * part // 4)) for part in (1, 3))
    assert (first, last) == (60, 190)
    assert len(set(np.asarray(grid.crop((0, 0, grid.width, plots.TITLE - 2))).ravel().tolist())) > 2
    half = np.asarray(images[:5], dtype=np.float32)[:, None] / 255
    batch = Batch(torch.from_numpy(half), torch.from_numpy(samples.gestures[:5]), torch.arange(5))
    assert drawn(plots.batch_grid(batch, data), tmp_path).width == grid.width
