"""Seconds to 99 % and 99.5 % validation accuracy on the random split of the built-in data set at full size.

    python -m benchmarks.accuracy                    # gesture, from the command to the epoch that reached it
    python -m benchmarks.accuracy plain              # how many epochs the report's recipe needs, at a smaller size
    python -m benchmarks.accuracy trainer.max_epochs=8

The reference report's way takes hours on two cores at its own size, so its seconds are computed: the epochs its recipe
is seen to need at SMALLER x SMALLER pixels, times the seconds an epoch takes at 224 x 224 (benchmarks.training).
"""

import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.arms import configured, plain
from benchmarks.measure import Measured, report
from gesture.data.prepare import load_samples, prepare

FULL_SIZE = ["data=synthetic", "data.frames=200"]
FAST = [*FULL_SIZE, "experiment=fast", "split=random", "trainer.max_epochs=1"]
"""Of so many images, one epoch is enough; the experiment's eight are for a set of 4,000."""
LEVELS = (0.99, 0.995)
SMALLER = 64
MOST_EPOCHS = 20
REPETITIONS = 3


def gesture_seconds(words: list[str]) -> dict[float, float]:
    """Seconds from the command, which finds no decoded images, to the end of the first epoch at each level."""
    reached: dict[float, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        metrics = Path(folder) / "run" / "metrics.csv"
        places = [f"data.cache_dir={folder}/cache", f"hydra.run.dir={metrics.parent}"]
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "gesture.train", *words, *places])
        while process.poll() is None:
            time.sleep(0.1)
            seen = accuracies(metrics)
            for level in LEVELS:
                if level not in reached and any(accuracy >= level for accuracy in seen):
                    reached[level] = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"gesture.train {' '.join(words)} ended with {process.returncode}")
    return {level: reached.get(level, float("nan")) for level in LEVELS}


def accuracies(metrics: Path) -> list[float]:
    if not metrics.exists():
        return []
    with metrics.open() as file:
        return [float(row["val/accuracy"]) for row in csv.DictReader(file) if row["val/accuracy"]]


def plain_epochs(words: list[str]) -> dict[float, float]:
    """Epochs of the report's recipe to each level, at a smaller size."""
    config = configured([*words, f"data.image_size=[{SMALLER},{SMALLER}]", "split=random"])
    reached: dict[float, float] = {}
    for number, epoch in enumerate(plain(config, prepare(config.data, config.split), validates=True), start=1):
        print(f"epoch {number}: accuracy {epoch.accuracy:.4f}, {epoch.images_per_second:.1f} images/s", flush=True)
        reached |= {level: number for level in LEVELS if epoch.accuracy >= level and level not in reached}
        if len(reached) == len(LEVELS) or number == MOST_EPOCHS:
            return {level: reached.get(level, float("nan")) for level in LEVELS}
    raise AssertionError("an arm never ends by itself")


def main(words: list[str]) -> None:
    recipe = words[:1] == ["plain"]
    words = words[recipe:]
    load_samples(configured([*FULL_SIZE, *words]).data)  # rendering is no part of it
    if recipe:
        rounds = [plain_epochs([*FULL_SIZE, *words])]
    else:
        rounds = [gesture_seconds([*FAST, *words]) for _ in range(REPETITIONS)]
    unit = f"epochs of the report's recipe at {SMALLER} px" if recipe else "seconds of experiment=fast"
    rows = {f"{unit} to {level:.1%}": Measured(tuple(one[level] for one in rounds)) for level in LEVELS}
    report("accuracy_plain" if recipe else "accuracy", rows, {"overrides": words})


if __name__ == "__main__":
    main(sys.argv[1:])
