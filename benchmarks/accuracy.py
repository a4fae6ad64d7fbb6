"""Seconds to 99 % and 99.5 % validation accuracy on the random split of the built-in data set at full size.

    python -m benchmarks.accuracy                                        # (c) gesture beside (a), the report's way
    python -m benchmarks.accuracy augment=light trainer.max_epochs=2     # with experiment=fast's random changes
    python -m benchmarks.accuracy plain              # how many epochs the report's recipe needs, at a smaller size

gesture's seconds are from the command, which finds no decoded images, to the end of the first epoch at each level. The
report's way takes half an hour an epoch on two cores; its seconds are computed: the epochs its recipe is seen to need
at SMALLER x SMALLER pixels, times what an epoch and its validation take at 224 x 224, measured on A_FEW images in turn
with gesture. Its start-up is left out.
"""

import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.arms import configured, plain
from benchmarks.measure import Measured, ratio, report, side_by_side
from gesture.data.prepare import load_samples, prepare

FULL_SIZE = ["data=synthetic", "data.frames=200"]
FAST = [*FULL_SIZE, "experiment=fast", "split=random", "augment=none", "trainer.max_epochs=1"]
"""The report's way makes no random changes either. One epoch of so many images is enough; the eight are for 4,000."""
LEVELS = (0.99, 0.995)
SMALLER = 64
MOST_EPOCHS = 20
PLAIN_EPOCHS = 1
"""What `plain` was seen to need, for both levels."""
A_FEW = ["data=synthetic", "data.frames=8", "split=random"]
REPETITIONS = 3


def gesture_seconds(words: list[str]) -> dict[str, float]:
    """From the command to the end of the first epoch at each level."""
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
    return {f"seconds to {level:.1%}": reached.get(level, float("nan")) for level in LEVELS}


def plain_arm(full_images: int) -> Callable[[], dict[str, float]]:
    """Each call trains and validates the report's way for an epoch of A_FEW images."""
    config = configured(A_FEW)
    data = prepare(config.data, config.split)
    epochs = plain(config, data, validates=True)
    next(epochs)  # slower, before its memory is in place

    def seconds() -> dict[str, float]:
        started = time.perf_counter()
        next(epochs)
        return {"computed seconds": (time.perf_counter() - started) * PLAIN_EPOCHS * full_images / len(data.samples)}

    return seconds


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
    images = len(load_samples(configured([*FULL_SIZE, *words]).data))  # renders them: that is no part of it
    if recipe:
        needed = plain_epochs([*FULL_SIZE, *words])
        rows = {f"epochs to {level:.1%} at {SMALLER} px": Measured((needed[level],)) for level in LEVELS}
        report("accuracy_plain", rows, {"overrides": words})
        return
    rows = side_by_side(
        {"(a)": plain_arm(images), "(c)": lambda: gesture_seconds([*FAST, *words])}, REPETITIONS, uncounted=0
    )
    for level in LEVELS:
        rows[f"(a) / (c) to {level:.1%}"] = ratio(rows["(a), computed seconds"], rows[f"(c), seconds to {level:.1%}"])
    report("accuracy", rows, {"overrides": [*FAST, *words]})


if __name__ == "__main__":
    main(sys.argv[1:])
