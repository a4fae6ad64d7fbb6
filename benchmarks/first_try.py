"""A newcomer's first try: accuracy and CPU seconds on a small folder of pictures, beside two other trainers.

    python -m benchmarks.first_try FOLDER [PYTHON]

FOLDER holds a folder of pictures a gesture; PYTHON is an interpreter that has fastai, which is left out without one.
Every arm is a command of its own, on one core, from its start to its test, three epochs of ResNet-18 from scratch;
seconds are those its processes kept the core busy, which a loaded machine changes least. Seeds choose the split, the
weights and the order.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.measure import ratio, report, side_by_side
from benchmarks.newcomers import BATCH, EPOCHS, SIZE

SMALL = (f"data.image_size=[{SIZE},{SIZE}]", f"data.batch_size={BATCH}")
DEFAULT = ()
SEEDS = 3


def cpu_seconds(command: list[str], output: Path) -> float:
    """Run a command on one thread, with its output in a file; the seconds of it and of the processes it started."""
    with output.open("w") as file:
        process = subprocess.Popen(command, stdout=file, env={**os.environ, "OMP_NUM_THREADS": "1"})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)  # which Popen cannot learn any more
    if status:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def gesture(folder: Path, words: tuple[str, ...], seeds: Iterator[int]) -> dict[str, float]:
    """All else as it is by default; images are decoded anew."""
    seed = next(seeds)
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        places = [f"data.root={folder}", f"data.cache_dir={place}/cache", f"hydra.run.dir={run}"]
        chosen = [*words, f"trainer.max_epochs={EPOCHS}", f"seed={seed}", f"split.seed={seed}", "accelerator=cpu"]
        command = [sys.executable, "-m", "gesture.train", "data=folder", *places, *chosen]
        seconds = cpu_seconds(command, Path(place) / "output")
        metrics = json.loads((run / "result.json").read_text())["metrics"]
    return {"CPU s": seconds, "validation": metrics["val/accuracy"], "test": metrics["test/accuracy"]}


def other(tool: str, python: str, folder: Path, seeds: Iterator[int]) -> dict[str, float]:
    """One of `benchmarks.newcomers`."""
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "output"
        seconds = cpu_seconds([python, "-m", "benchmarks.newcomers", tool, str(folder), str(next(seeds))], output)
        return {"CPU s": seconds, **json.loads(output.read_text().splitlines()[-1])}


def main(folder: Path, fastai_python: str | None) -> None:
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[-1:])
    arms: dict[str, Callable[[], dict[str, float]]] = {
        "gesture": partial(gesture, folder, SMALL, count()),
        "Lightning": partial(other, "lightning", sys.executable, folder, count()),
    }
    if fastai_python:
        arms["fastai"] = partial(other, "fastai", fastai_python, folder, count())
    rows = side_by_side(arms, SEEDS, uncounted=0)
    for tool in [name for name in arms if name != "gesture"]:
        rows[f"gesture / {tool}, CPU s"] = ratio(rows["gesture, CPU s"], rows[f"{tool}, CPU s"])
    rows |= side_by_side({"gesture by default": partial(gesture, folder, DEFAULT, count())}, SEEDS, uncounted=0)
    images = sum(path.is_file() for path in folder.rglob("*"))
    report("first_try", rows, {"images": images, "epochs": EPOCHS, "small": SMALL})


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2] if len(sys.argv) > 2 else None)
