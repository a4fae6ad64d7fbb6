"""Images a second of training: four ways side by side, and what the framework costs around the same steps.

    python -m benchmarks.training                                  # both tables
    python -m benchmarks.training backbone=resnet50 data.frames=200

Words are overrides of gesture.train. Large batches have LARGE images; on a GPU give data.frames=200, a full-size set.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import torch

from benchmarks.arms import Epoch, ceiling, configured, folders, gesture, plain
from benchmarks.measure import Measured, ratio, report, side_by_side
from gesture.config import TrainConfig
from gesture.data.prepare import Data, prepare
from gesture.training.hardware import resolve

DEFAULTS = ["data=synthetic", "data.frames=4", "trainer.max_epochs=2"]
LARGE = {"cuda": 256, "mps": 64, "cpu": 32}
SMALL = 8
WAYS_REPETITIONS, COST_REPETITIONS = 3, 5


def later(epochs: list[Epoch]) -> float:
    """Images a second after the first epoch."""
    return sum(epoch.images for epoch in epochs[1:]) / sum(epoch.seconds for epoch in epochs[1:])


def ways(config: TrainConfig, data: Data) -> dict[str, Measured]:
    """The four arms, each as its users would run it: the first epoch, which decodes, and those after it."""

    def figures(epochs: list[Epoch]) -> dict[str, float]:
        found = {"first epoch": epochs[0].images_per_second, "later epochs": later(epochs)}
        if torch.cuda.is_available():
            found["GPU GB"] = torch.cuda.max_memory_allocated() / 1e9
            torch.cuda.reset_peak_memory_stats()
        return found

    def some(arm: Iterator[Epoch]) -> list[Epoch]:
        return list(islice(arm, config.trainer.max_epochs))

    rows = side_by_side(
        {
            "(a) the report's way, batch 8": lambda: figures(some(plain(config, data))),
            "(b) bare loop": lambda: figures(some(ceiling(config, data))),
            "(c) gesture": lambda: figures(gesture(config)),
            "(d) Lightning, ImageFolder, workers": lambda: figures(folders(config, data)),
        },
        WAYS_REPETITIONS,
    )
    plainly, whole = rows["(a) the report's way, batch 8, later epochs"], rows["(c) gesture, later epochs"]
    return {name: row for name, row in rows.items() if "(b) bare loop, first" not in name} | {
        "(c) / (a), later epochs": ratio(whole, plainly),
        "(c) / (d), later epochs": ratio(whole, rows["(d) Lightning, ImageFolder, workers, later epochs"]),
    }


def costs(config: TrainConfig, data: Data) -> dict[str, Measured]:
    """(c) beside (b) at one batch size, and the milliseconds of a step."""
    size = config.data.batch_size
    rows = side_by_side(
        {
            f"(c) gesture, batch {size}": lambda: {"images/s": later(gesture(config))},
            f"(b) bare loop, batch {size}": lambda: {
                "images/s": later(list(islice(ceiling(config, data), config.trainer.max_epochs)))
            },
        },
        COST_REPETITIONS,
    )
    whole, bare = rows.values()
    return rows | {
        f"(c) ms a step, batch {size}": Measured(tuple(1000 * size / speed for speed in whole.values)),
        f"(c) / (b), batch {size}": ratio(whole, bare),
    }


def main(words: list[str]) -> None:
    config = configured([*DEFAULTS, *words])
    hardware = resolve(config.accelerator, config.trainer.precision)
    large, small = (
        replace(config, data=replace(config.data, batch_size=size)) for size in (LARGE[hardware.name], SMALL)
    )
    data = prepare(config.data, config.split)
    conditions = {"overrides": [*DEFAULTS, *words], "images": len(data.split.train), **hardware.describe()}
    report("costs", costs(large, data) | costs(small, data), conditions)
    report("ways", ways(large, data), conditions)


if __name__ == "__main__":
    main(sys.argv[1:])
