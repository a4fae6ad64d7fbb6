"""Seconds from a command to its answer, beside a Hydra program that does nothing, and to the first training step.

python -m benchmarks.startup
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Measured, report, side_by_side

REPETITIONS = 7
BARE = """
import hydra
@hydra.main(version_base="1.3", config_path=None)
def main(config): pass
main()
"""
TRAIN = ["data=synthetic", "experiment=fast"]
"""What `make train` runs."""


def seconds(*command: str) -> dict[str, float]:
    """Of a whole process."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, check=False)
        return {"s": time.perf_counter() - started}


def first_step() -> dict[str, float]:
    """Of `make train` to the end of its first training step, with images decoded already."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.startup", "one-step", *TRAIN, f"hydra.run.dir={folder}/run"]
        subprocess.run(command, capture_output=True, check=True)
    return {"s": time.perf_counter() - started}


def train_one_step(words: list[str]) -> None:
    """gesture.train in this process, ended without ado after its first step."""
    from gesture import train
    from gesture.training.datamodule import GestureData

    steps = 0

    def end_after_one(self: GestureData, batch: object, index: int) -> object:
        nonlocal steps
        steps += 1
        if steps == 2:
            os._exit(0)
        return before(self, batch, index)  # type: ignore[arg-type]

    before, GestureData.on_after_batch_transfer = GestureData.on_after_batch_transfer, end_after_one  # type: ignore
    sys.argv = ["gesture.train", *words]
    train.main()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)
        rows = side_by_side(
            {
                "bare Hydra program, --help": lambda: seconds(str(bare), "--help"),
                "gesture.train --help": lambda: seconds("-m", "gesture.train", "--help"),
                "gesture.train --cfg job": lambda: seconds("-m", "gesture.train", "--cfg", "job"),
                "gesture.train with a mistyped setting": lambda: seconds("-m", "gesture.train", "optimizer.lrr=1"),
                "make train to its first step": first_step,
            },
            REPETITIONS,
        )
    bare_s, *answers, _ = list(rows.items())
    for name, measured in answers:
        beyond = tuple(a - b for a, b in zip(measured.values, bare_s[1].values, strict=True))
        rows[f"{name.removesuffix(', s')} beyond the bare program, s"] = Measured(beyond)
    report("startup", rows, {"first step": TRAIN})


if __name__ == "__main__":
    train_one_step(sys.argv[2:]) if sys.argv[1:2] == ["one-step"] else main()
