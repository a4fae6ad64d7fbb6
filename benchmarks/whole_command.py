"""Seconds of `make train` from command to table, and how many of them are not training, beside another checkout.

    python -m benchmarks.whole_command OLDER

OLDER is a checkout of the project as it was, a commit's `git archive` unpacked. Both train on the same decoded images,
in turn, on all cores, with the same environment; what is not training is all but the epochs' own seconds.
"""

import csv
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.measure import ratio, report, side_by_side

WORDS = ("data=synthetic", "experiment=fast")
REPETITIONS = 3


def command(source: Path, place: Path) -> dict[str, float]:
    """The seconds of one training by the package in `source`, whose caches are in `place`."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*WORDS, f"data.root={place}/data", f"data.cache_dir={place}/cache", f"hydra.run.dir={folder}/run"]
        before, started = os.times(), time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "gesture.train", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(source)},
            capture_output=True,
            check=True,
        )
        seconds, after = time.perf_counter() - started, os.times()
        with (Path(folder) / "run/metrics.csv").open() as file:
            training = sum(float(row["seconds"]) for row in csv.DictReader(file))
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"s": seconds, "CPU s": cpu, "s not training": seconds - training}


def main(older: Path) -> None:
    source = Path(__file__).parents[1] / "src"
    with tempfile.TemporaryDirectory() as caches:
        arms = {
            "now": partial(command, source, Path(caches) / "now"),
            "before": partial(command, older / "src", Path(caches) / "before"),
        }
        rows = side_by_side(arms, REPETITIONS)
    for quantity in ("s", "CPU s", "s not training"):
        rows[f"now / before, {quantity}"] = ratio(rows[f"now, {quantity}"], rows[f"before, {quantity}"])
    report("whole_command", rows, {"words": WORDS, "older": older.name})


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
