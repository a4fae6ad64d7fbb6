"""Images a second of training: four ways side by side, and what the framework costs around the same steps.

    python -m benchmarks.training                                  # all tables
    python -m benchmarks.training small data.image_size=[96,96]    # batch 8 only: pairs of gesture and the bare loop
    python -m benchmarks.training backbone=resnet50 data.frames=200

Words are overrides of gesture.train. Large batches have LARGE images; on a GPU give data.frames=200, a full-size set.
"""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import islice

import torch

from benchmarks.arms import Epoch, ceiling, configured, folders, gesture, plain
from benchmarks.measure import Measured, mean_and_interval, ratio, report, side_by_side
from gesture.config.schema import TrainConfig
from gesture.data.prepare import Data, prepare
from gesture.model.hardware import resolve

DEFAULTS = ["data=synthetic", "data.frames=4", "trainer.max_epochs=2"]
LARGE = {"cuda": 256, "mps": 64, "cpu": 32}
SMALL = 8
WAYS = {
    "plain": "(a) the report's way, batch 8",
    "ceiling": "(b) bare loop",
    "gesture": "(c) gesture",
    "folders": "(d) Lightning, ImageFolder, workers",
}
WAYS_REPETITIONS = 3
PAIRS = {"large": 5, "small": 15}
"""The framework costs a small batch a larger share of its time, and a share of one in a hundred needs many pairs."""


def later(epochs: list[Epoch]) -> float:
    """Images a second after the first epoch."""
    return sum(epoch.images for epoch in epochs[1:]) / sum(epoch.seconds for epoch in epochs[1:])


def way(arm: str, config: TrainConfig) -> list[Epoch]:
    """The epochs of one arm."""
    if arm == "gesture":
        return gesture(config)
    data = prepare(config.data, config.split)
    if arm == "folders":
        return folders(config, data)
    return list(islice({"plain": plain, "ceiling": ceiling}[arm](config, data), config.trainer.max_epochs))


def tell(arm: str, words: list[str]) -> None:
    """Print what one arm measures, for `in_own_process`."""
    epochs = way(arm, configured(words))
    figures = {"first epoch": epochs[0].images_per_second, "later epochs": later(epochs)}
    if torch.cuda.is_available():
        figures["GPU GB"] = torch.cuda.max_memory_allocated() / 1e9
    print(json.dumps(figures))


def in_own_process(arm: str, words: list[str]) -> dict[str, float]:
    """What one arm measures where no other has been: libraries keep settings and memory."""
    command = [sys.executable, "-m", "benchmarks.training", arm, *words]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    figures: dict[str, float] = json.loads(told.splitlines()[-1])
    return figures


def ways(words: list[str]) -> dict[str, Measured]:
    """The four arms, each as its users would run it: the first epoch, which decodes, and those after it."""
    arms = {label: partial(in_own_process, arm, words) for arm, label in WAYS.items()}
    rows = side_by_side(arms, WAYS_REPETITIONS, uncounted=0)
    of = {arm: rows[f"{label}, later epochs"] for arm, label in WAYS.items()}
    del rows[f"{WAYS['ceiling']}, first epoch"]  # it decodes nothing
    return rows | {
        "(c) / (a), later epochs": ratio(of["gesture"], of["plain"]),
        "(c) / (d), later epochs": ratio(of["gesture"], of["folders"]),
    }


def costs(config: TrainConfig, data: Data, pairs: int) -> dict[str, Measured]:
    """(c) beside (b) at one batch size, in alternating pairs, and the milliseconds of a step."""
    size = config.data.batch_size
    rows = side_by_side(
        {
            f"(c) gesture, batch {size}": lambda: {"images/s": later(gesture(config))},
            f"(b) bare loop, batch {size}": lambda: {
                "images/s": later(list(islice(ceiling(config, data), config.trainer.max_epochs)))
            },
        },
        pairs,
    )
    whole, bare = rows.values()
    return rows | {
        f"(c) ms a step, batch {size}": Measured(tuple(1000 * size / speed for speed in whole.values)),
        f"(c) / (b), batch {size}": ratio(whole, bare),
        f"(c) / (b), batch {size}, mean of the pairs and its 95 % interval": mean_and_interval(ratio(whole, bare)),
    }


def main(words: list[str], only: str | None = None) -> None:
    config = configured([*DEFAULTS, *words])
    hardware = resolve(config.accelerator, config.trainer.precision)
    sizes = {"large": LARGE[hardware.name], "small": SMALL}
    data = prepare(config.data, config.split)
    conditions = {"overrides": [*DEFAULTS, *words], "images": len(data.split.train), **hardware.describe()}
    for name in [only] if only else sizes:
        sized = replace(config, data=replace(config.data, batch_size=sizes[name]))
        report(f"costs_{name}_{config.backbone.name}", costs(sized, data, PAIRS[name]), conditions)
    if not only:
        whole = ways([*DEFAULTS, *words, f"data.batch_size={sizes['large']}"])
        report(f"ways_{config.backbone.name}", whole, conditions)


if __name__ == "__main__":
    first, *others = sys.argv[1:] or [""]
    if first in WAYS:
        tell(first, others)
    elif first in PAIRS:
        main(others, only=first)
    else:
        main(sys.argv[1:])
